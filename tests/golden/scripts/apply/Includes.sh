# change include:postgresql: it does not read conf.d
keep /etc/postgresql/15/main/postgresql.conf
cp -p -- /etc/postgresql/15/main/postgresql.conf /etc/postgresql/15/main/postgresql.conf.provision-new
[ -z "$(tail -c 1 /etc/postgresql/15/main/postgresql.conf)" ] || echo >>/etc/postgresql/15/main/postgresql.conf.provision-new
printf '%s\n' '# Written by provision: settings are in conf.d' 'include_dir = '\''conf.d'\''' >>/etc/postgresql/15/main/postgresql.conf.provision-new
mv -f -T -- /etc/postgresql/15/main/postgresql.conf.provision-new /etc/postgresql/15/main/postgresql.conf

bin=/usr/lib/postgresql/15/bin
as_postgres() {
  ( cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
    PGCLIENTENCODING=UTF8 PGCONNECT_TIMEOUT=10 PGAPPNAME=provision "PGOPTIONS=${options:--c search_path=pg_catalog -c jit=off -c statement_timeout=120s -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic}" "$@" )
}
administer() {
  as_postgres "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h /var/run/postgresql -p "$port" -U postgres -d "$1"
}
accepted() {
  # Not pg_file_settings: it has one and the same error for a bad value and for one that waits for a restart.
  as_postgres "$bin/postgres" -C port -c "config_file=/etc/postgresql/15/main/postgresql.conf" \
    >/dev/null 2>"$T/accepted" && return 0
  sed 's/^.* \([A-Z]*\):  /\1: /' "$T/accepted" >&2
  sed -n 's/^.* \(LOG\|FATAL\):  /why /p' "$T/accepted" | head -n 1 >&2
  return 1
}

port=; pidfile=/var/run/postgresql/15-main.pid
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
' | administer postgres >"$T/reload.errors" || echo 'pg_hba.conf could not be checked' >>"$T/reload.errors"
  if ! accepted || [ -s "$T/reload.errors" ]; then
    put_back /etc/postgresql/15/main/postgresql.conf
    sed 's/^/why /' "$T/reload.errors" >&2
    exit 1
  fi
  loaded() { printf %s '-- When the server last read its configuration.
SELECT extract(epoch FROM pg_conf_load_time());
' | administer postgres; }
  before=$(loaded)
  systemctl daemon-reload
  systemctl reload postgresql@15-main.service
  n=0
  while [ "$(loaded)" = "$before" ]; do
    n=$((n + 1))
    if [ $n -ge 50 ]; then
      echo 'the server did not read its files' >&2
      exit 1
    fi
    sleep 0.1
  done
  # The record is of this reload, not of an earlier one.
  touch -c /run/provision/postgresql@15-main.service
fi
