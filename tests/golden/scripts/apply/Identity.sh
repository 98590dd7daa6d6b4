# create file:database.identity: absent
bin=/usr/lib/postgresql/16/bin
as_postgres() {
  ( cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
    PGCLIENTENCODING=UTF8 PGCONNECT_TIMEOUT=10 PGAPPNAME=provision "PGOPTIONS=${options:--c search_path=pg_catalog -c jit=off -c statement_timeout=120s -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic}" "$@" )
}
administer() {
  as_postgres "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h /var/run/postgresql -p "$port" -U postgres -d "$1"
}
accepted() {
  # Not pg_file_settings: it has one and the same error for a bad value and for one that waits for a restart.
  as_postgres "$bin/postgres" -C port -c "config_file=/etc/postgresql/16/main/postgresql.conf" \
    >/dev/null 2>"$T/accepted" && return 0
  sed 's/^.* \([A-Z]*\):  /\1: /' "$T/accepted" >&2
  sed -n 's/^.* \(LOG\|FATAL\):  /why /p' "$T/accepted" | head -n 1 >&2
  return 1
}

port=; pidfile=/var/run/postgresql/16-main.pid
if [ -s "$pidfile" ] && pid=$(head -n 1 "$pidfile") && [ -d "/proc/${pid:-x}" ]; then
  for s in /var/run/postgresql/.s.PGSQL.*.lock; do
    [ -f "$s" ] && [ "$(head -n 1 "$s")" = "$pid" ] || continue
    port=${s##*.PGSQL.}; port=${port%.lock}
  done
fi
[ -d /etc/mlflow ] || mkdir -p -m 0755 /etc/mlflow
printf %s '\set database '\''mlflow'\''
-- Which database this is, as the file that mlflow-server has among its inputs. Variables: database.
\set QUIET on
SELECT format(E'\''# Written by provision: the database that this stack uses. It is no setting.\nsystem %s database %s'\'',
  (SELECT system_identifier FROM pg_control_system()), oid)
FROM pg_database WHERE datname = :'\''database'\'';
' | administer postgres >"$T/identity"
[ -s "$T/identity" ]
keep /etc/mlflow/database.identity
if [ -d /etc/mlflow/database.identity ] && ! [ -L /etc/mlflow/database.identity ]; then rm -rf -- /etc/mlflow/database.identity; fi
cat "$T/identity" >/etc/mlflow/database.identity.provision-new
chown root:root /etc/mlflow/database.identity.provision-new; chmod 0644 /etc/mlflow/database.identity.provision-new
mv -f -T -- /etc/mlflow/database.identity.provision-new /etc/mlflow/database.identity
