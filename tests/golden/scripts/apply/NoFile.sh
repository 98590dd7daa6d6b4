# remove file:nginx-accounts: there is no login any more
rm -f -- /etc/nginx/provision-mlflow.htpasswd
