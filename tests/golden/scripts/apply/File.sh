# create file:secrets.json: absent
f=$T/stage0
printf %s '{
 "schema": 1,
 "secrets": {
  "database.password": {
   "generation": 1,
   "value": "fake-database-password"
  },
  "login": {
   "generation": 1,
   "value": "fake-login-password"
  },
  "mlflow.flask-key": {
   "generation": 1,
   "value": "fake-flask-key-000000000000000000000000000000000"
  },
  "mlflow.kek": {
   "generation": 1,
   "value": "fake-kek-passphrase-0000000000000000000000000000"
  },
  "store.root.password": {
   "generation": 1,
   "value": "fake-root-password"
  },
  "store.root.user": {
   "generation": 1,
   "value": "fakerootuser"
  },
  "store.user.key": {
   "generation": 1,
   "value": "fakeuserkey"
  },
  "store.user.secret": {
   "generation": 1,
   "value": "fake-user-secret"
  }
 },
 "stack": "192.0.2.10"
}
' >"$f"
[ "$(sha256sum <"$f")" = "9e4f282f1b4550fd15000f9c2ae5da634ea12c66f0a9a283cc7d06acf2720bcb  -" ]
unplaced() { rm -f -- /etc/provision/secrets.json.provision-new; }
trap unplaced EXIT
f=$T/stage0
[ -d /etc/provision ] || mkdir -p -m 0755 /etc/provision
keep /etc/provision/secrets.json
rm -f -- /etc/provision/secrets.json.provision-new
cat "$f" >/etc/provision/secrets.json.provision-new
chown -h root:root -- /etc/provision/secrets.json.provision-new
chmod 0600 -- /etc/provision/secrets.json.provision-new
mv -f -T -- /etc/provision/secrets.json.provision-new /etc/provision/secrets.json
