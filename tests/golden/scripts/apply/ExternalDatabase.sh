# create database:runs: absent
[ -d /etc/mlflow ] || mkdir -p -m 0755 /etc/mlflow
keep /etc/mlflow/database.identity
printf '%s\n%s\n' '# Written by provision: the database that this stack uses. It is no setting.' 7001/42 >/etc/mlflow/database.identity.provision-new
chown root:root /etc/mlflow/database.identity.provision-new; chmod 0644 /etc/mlflow/database.identity.provision-new
mv -f -T -- /etc/mlflow/database.identity.provision-new /etc/mlflow/database.identity
rm -f -- /etc/provision/making.database.runs
