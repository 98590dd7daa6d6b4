# create role:mlflow: absent
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

mkdir -p -m 0755 /etc/provision /etc/provision/had; : >/etc/provision/had/role.mlflow
printf %s '-- One login. Variables: user, host, password (as the catalogue keeps it), limit (connections at once). NONE: SSL
-- or NONE.
CREATE USER IF NOT EXISTS '\''mlflow'\''@'\''127.0.0.1'\'' IDENTIFIED VIA mysql_native_password USING '\''*22838A9B38156A104EA3352B1CE03E4C81E0E8BA'\'';
ALTER USER '\''mlflow'\''@'\''127.0.0.1'\'' IDENTIFIED VIA mysql_native_password USING '\''*22838A9B38156A104EA3352B1CE03E4C81E0E8BA'\'' REQUIRE NONE
  WITH MAX_USER_CONNECTIONS 105 ACCOUNT UNLOCK PASSWORD EXPIRE NEVER;
-- Rights of every kind, before those that are wanted are granted. Variables: user, host.
REVOKE ALL PRIVILEGES, GRANT OPTION FROM '\''mlflow'\''@'\''127.0.0.1'\'';
-- What MLflow'\''s own migrations need, on one database. Variables: user, host, database.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES, TRIGGER
  ON `ml\_runs`.* TO '\''mlflow'\''@'\''127.0.0.1'\'';
-- What MLflow'\''s own migrations need, on one database. Variables: user, host, database.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES, TRIGGER
  ON `ml\_runs\_auth`.* TO '\''mlflow'\''@'\''127.0.0.1'\'';
' | administer
printf %s '-- One login. Variables: user, host, password (as the catalogue keeps it), limit (connections at once). NONE: SSL
-- or NONE.
CREATE USER IF NOT EXISTS '\''mlflow'\''@'\''localhost'\'' IDENTIFIED VIA mysql_native_password USING '\''*22838A9B38156A104EA3352B1CE03E4C81E0E8BA'\'';
ALTER USER '\''mlflow'\''@'\''localhost'\'' IDENTIFIED VIA mysql_native_password USING '\''*22838A9B38156A104EA3352B1CE03E4C81E0E8BA'\'' REQUIRE NONE
  WITH MAX_USER_CONNECTIONS 105 ACCOUNT UNLOCK PASSWORD EXPIRE NEVER;
-- Rights of every kind, before those that are wanted are granted. Variables: user, host.
REVOKE ALL PRIVILEGES, GRANT OPTION FROM '\''mlflow'\''@'\''localhost'\'';
-- What MLflow'\''s own migrations need, on one database. Variables: user, host, database.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES, TRIGGER
  ON `ml\_runs`.* TO '\''mlflow'\''@'\''localhost'\'';
-- What MLflow'\''s own migrations need, on one database. Variables: user, host, database.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES, TRIGGER
  ON `ml\_runs\_auth`.* TO '\''mlflow'\''@'\''localhost'\'';
' | administer
