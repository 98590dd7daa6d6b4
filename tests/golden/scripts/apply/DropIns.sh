# remove drop-ins:mlflow: it sets User=root
keep /etc/systemd/system/mlflow-server.service.d/root.conf
rm -f -- /etc/systemd/system/mlflow-server.service.d/root.conf
rmdir -- /etc/systemd/system/mlflow-server.service.d 2>/dev/null || :
rm -f -- /run/provision/mlflow-server.service
