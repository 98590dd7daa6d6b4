# create file:database.identity: absent
if [ -x /usr/bin/mariadb ]; then client=/usr/bin/mariadb; else client=/usr/bin/mysql; fi
administer() {
  ( cd / && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/nonexistent LC_ALL=C.UTF-8 "$client" --no-defaults \
    --protocol=socket --socket=/run/mysqld/mysqld.sock --user=root --batch --raw --skip-column-names --skip-reconnect \
    --default-character-set=utf8mb4 --connect-timeout=10 )
}
as_mysql() {
  ( cd / && exec setpriv --reuid=mysql --regid=mysql --clear-groups env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    LC_ALL=C.UTF-8 "$@" )
}
accepted() {
  # MariaDB has no --validate-config; its --help reads the files and goes on after a bad value of a plugin.
  if [ -x /usr/sbin/mariadbd ]; then set -- mariadbd --help --verbose; else set -- mysqld --validate-config; fi
  as_mysql "$@" >/dev/null 2>"$T/accepted" && ! grep -q '\[ERROR\]' "$T/accepted" && return 0
  sed -n 's/^.*\[ERROR\] */why /p' "$T/accepted" | head -n 1 >&2
  return 1
}

[ -d /etc/mlflow ] || mkdir -p -m 0755 /etc/mlflow
d=$(echo 'SELECT @@datadir' | administer)
found=$(
d="${d:-/var/lib/mysql}/ml_runs"
if [ -f "$d/db.opt" ]; then echo "identity $(stat -c %.Y "$d/db.opt")"
elif [ -d "$d" ]; then echo "identity $(stat -c %i.%W "$d")"; fi
)
[ -n "$found" ]
keep /etc/mlflow/database.identity
if [ -d /etc/mlflow/database.identity ] && ! [ -L /etc/mlflow/database.identity ]; then rm -rf -- /etc/mlflow/database.identity; fi
printf '%s\n%s\n' '# Written by provision: the database that this stack uses. It is no setting.' ml_runs" ${found#identity }" >/etc/mlflow/database.identity.provision-new
chown root:root /etc/mlflow/database.identity.provision-new; chmod 0644 /etc/mlflow/database.identity.provision-new
mv -f -T -- /etc/mlflow/database.identity.provision-new /etc/mlflow/database.identity
