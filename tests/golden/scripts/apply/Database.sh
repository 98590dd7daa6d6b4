# create database:mlflow: absent
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
printf %s '\set role '\''mlflow'\''
\set database '\''mlflow'\''
\set limit '\''135'\''
-- The database, owned by its role; what is there is put right, never replaced.
-- Variables: role, database, limit (connections its role may have).
\set QUIET on
SELECT count(*) = 0 AS absent, current_setting('\''server_version_num'\'')::int >= 150000 AS provider
FROM pg_database WHERE datname = :'\''database'\'' \gset
\if :absent
\if :provider
CREATE DATABASE :"database" OWNER :"role" TEMPLATE template0 ENCODING '\''UTF8'\''
  LOCALE_PROVIDER libc LC_COLLATE '\''C'\'' LC_CTYPE '\''C.UTF-8'\'';
\else
CREATE DATABASE :"database" OWNER :"role" TEMPLATE template0 ENCODING '\''UTF8'\'' LC_COLLATE '\''C'\'' LC_CTYPE '\''C.UTF-8'\'';
\endif
-- Nobody else on this server has business in it.
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
\endif
SELECT format('\''ALTER DATABASE %I OWNER TO %I'\'', datname, :'\''role'\'') FROM pg_database
WHERE datname = :'\''database'\'' AND pg_get_userbyid(datdba) <> :'\''role'\'' \gexec
SELECT format('\''ALTER DATABASE %I ALLOW_CONNECTIONS true'\'', datname) FROM pg_database
WHERE datname = :'\''database'\'' AND NOT datallowconn \gexec
SELECT format('\''ALTER DATABASE %I CONNECTION LIMIT -1'\'', datname) FROM pg_database
WHERE datname = :'\''database'\'' AND datconnlimit BETWEEN 0 AND :limit - 1 \gexec
GRANT CONNECT, TEMPORARY, CREATE ON DATABASE :"database" TO :"role";
\connect :"database"
SELECT count(*) = 0 AS lost FROM pg_namespace WHERE nspname = '\''public'\'' \gset
\if :lost
CREATE SCHEMA public;
\endif
SELECT format('\''GRANT USAGE, CREATE ON SCHEMA public TO %I'\'', :'\''role'\'')
WHERE NOT has_schema_privilege(:'\''role'\'', '\''public'\'', '\''USAGE'\'') OR NOT has_schema_privilege(:'\''role'\'', '\''public'\'', '\''CREATE'\'') \gexec
-- A dump restored by another role. A column'\''s sequence follows its table; extensions keep theirs.
SELECT format('\''ALTER %s public.%I OWNER TO %I'\'',
  CASE c.relkind WHEN '\''S'\'' THEN '\''SEQUENCE'\'' WHEN '\''v'\'' THEN '\''VIEW'\'' WHEN '\''m'\'' THEN '\''MATERIALIZED VIEW'\'' ELSE '\''TABLE'\'' END,
  c.relname, :'\''role'\'')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = '\''public'\'' AND c.relkind IN ('\''r'\'', '\''p'\'', '\''S'\'', '\''v'\'', '\''m'\'') AND pg_get_userbyid(c.relowner) <> :'\''role'\''
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '\''pg_class'\''::regclass AND d.objid = c.oid
                  AND (d.deptype = '\''e'\'' OR d.deptype IN ('\''a'\'', '\''i'\'') AND c.relkind = '\''S'\''))
\gexec
' | administer postgres
mkdir -p -m 0755 /etc/provision /etc/provision/had; : >/etc/provision/had/database.mlflow
