# create database:ml_runs: absent
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

printf %s '-- The database, case-sensitive and for every text. Variables: database.
CREATE DATABASE IF NOT EXISTS `ml_runs` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
' | administer
mkdir -p -m 0755 /etc/provision /etc/provision/had; : >/etc/provision/had/database.ml_runs
