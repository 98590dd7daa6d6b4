# change access:postgresql: its block is absent
[ "$(sha256sum </etc/postgresql/16/main/pg_hba.conf)" = "46fb9efc9750046ba92cc3010ccecb0d5a0e2db5ee3263c3b0463867f3af49c7  -" ] || { echo /etc/postgresql/16/main/pg_hba.conf 'was changed meanwhile' >&2; exit 1; }
keep /etc/postgresql/16/main/pg_hba.conf
rm -f -- /etc/postgresql/16/main/pg_hba.conf.provision-new
cp -p -- /etc/postgresql/16/main/pg_hba.conf /etc/postgresql/16/main/pg_hba.conf.provision-new
printf %s 'local   all  postgres  peer
# the shop'\''s own line
host    shop shop 10.0.0.0/8 scram-sha-256
# provision: begin (written by provision; change it with database.allow, not here)
host    mlflow          mlflow          127.0.0.1/32            scram-sha-256
host    mlflow          mlflow          ::1/128                 scram-sha-256
# provision: end
host    all  all  127.0.0.1/32  scram-sha-256
' >/etc/postgresql/16/main/pg_hba.conf.provision-new
mv -f -T -- /etc/postgresql/16/main/pg_hba.conf.provision-new /etc/postgresql/16/main/pg_hba.conf

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
if [ -n "$port" ]; then
  printf %s '-- What the server would not accept in pg_hba.conf as it is on disk now. A record that "cannot match"
-- (hostssl without ssl) is accepted.
\set QUIET on
SELECT format('\''pg_hba.conf line %s: %s'\'', line_number, error) FROM pg_hba_file_rules
WHERE error IS NOT NULL AND error NOT LIKE '\''%cannot match%'\'' LIMIT 5;
' | administer postgres >"$T/hba.errors" ||
    echo 'pg_hba.conf could not be checked' >>"$T/hba.errors"
  if [ -s "$T/hba.errors" ]; then
    put_back /etc/postgresql/16/main/pg_hba.conf
    sed 's/^/why /' "$T/hba.errors" >&2
    echo 'next correct that line, then run the same command again' >&2
    exit 1
  fi
fi
