# start unit:postgresql@16-main.service: absent
systemctl daemon-reload

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
trap '[ $? -eq 0 ] || tail -n 20 /var/log/postgresql/postgresql-16-main.log 2>/dev/null | sed -n "s/^.* FATAL:  /why /p" | tail -n 1' EXIT
if ! systemctl -q is-active postgresql@16-main.service; then
if [ "$(systemctl show -p LoadState --value postgresql@16-main.service)" = masked ]; then
  systemctl unmask -q postgresql@16-main.service; systemctl unmask -q --runtime postgresql@16-main.service; systemctl daemon-reload
fi
if systemctl -q is-active postgresql@16-main.service; then undo_unit postgresql@16-main.service /etc/postgresql/16/main/conf.d/50-mlflow.conf /etc/postgresql/16/main/pg_hba.conf; fi
systemctl reset-failed postgresql@16-main.service 2>/dev/null || :
systemctl restart postgresql@16-main.service || { journalctl -u postgresql@16-main.service -n 20 --no-pager -o cat; exit 1; }
t=$(($(date +%s) + 30)); n0=$(systemctl show -p NRestarts --value postgresql@16-main.service)
until said=$( ( 
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
[ -n "$port" ] && "$bin/pg_isready" -q -h /var/run/postgresql -p "$port"
) 2>&1 ); do
  n=$(systemctl show -p NRestarts --value postgresql@16-main.service); [ $((${n:-0} - ${n0:-0})) -lt 3 ] || { echo 'it ends again and again while starting' >&2; { journalctl -u postgresql@16-main.service -n 20 --no-pager -o cat; exit 1; }; }
  if systemctl -q is-failed postgresql@16-main.service; then echo 'it ended while starting' >&2; { journalctl -u postgresql@16-main.service -n 20 --no-pager -o cat; exit 1; }; fi
  if [ "$(date +%s)" -ge $t ]; then echo "no healthy answer within 30 s${said:+: $(printf '%s' "$said" | tail -n 1 | tr -d '\000-\037' | cut -c1-200)}" >&2; { journalctl -u postgresql@16-main.service -n 20 --no-pager -o cat; exit 1; }; fi
  sleep 0.1
done
proven
port=
fi

if [ -n "$port" ]; then
  printf %s '-- What the server would not accept in pg_hba.conf as it is on disk now. A record that "cannot match"
-- (hostssl without ssl) is accepted.
\set QUIET on
SELECT format('\''pg_hba.conf line %s: %s'\'', line_number, error) FROM pg_hba_file_rules
WHERE error IS NOT NULL AND error NOT LIKE '\''%cannot match%'\'' LIMIT 5;
' | administer postgres >"$T/reload.errors" || echo 'pg_hba.conf could not be checked' >>"$T/reload.errors"
  if ! accepted || [ -s "$T/reload.errors" ]; then
    put_back /etc/postgresql/16/main/conf.d/50-mlflow.conf /etc/postgresql/16/main/pg_hba.conf
    sed 's/^/why /' "$T/reload.errors" >&2
    exit 1
  fi
  loaded() { printf %s '-- When the server last read its configuration.
SELECT extract(epoch FROM pg_conf_load_time());
' | administer postgres; }
  before=$(loaded)
  systemctl daemon-reload
  systemctl reload postgresql@16-main.service
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
  touch -c /run/provision/postgresql@16-main.service
fi
