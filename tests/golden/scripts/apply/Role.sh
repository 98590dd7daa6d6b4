# create role:mlflow: absent
mkdir -p -m 0755 /etc/provision /etc/provision/had; : >/etc/provision/had/role.mlflow

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
\set limit '\''135'\''
\set verifier '\''SCRAM-SHA-256$4096:fake'\''
-- The login role, with nothing but what its own database needs.
-- Variables: role, limit, verifier (SCRAM, made by the operator'\''s side; empty: the password stays).
\set QUIET on
SELECT count(*) = 0 AS absent, :'\''verifier'\'' <> '\'''\'' AS secret FROM pg_roles WHERE rolname = :'\''role'\'' \gset
BEGIN;
\if :absent
CREATE ROLE :"role";
\endif
ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT
  CONNECTION LIMIT :limit VALID UNTIL '\''infinity'\'';
\if :secret
ALTER ROLE :"role" PASSWORD :'\''verifier'\'';
\endif
SELECT format('\''ALTER ROLE %I RESET %I'\'', :'\''role'\'', name)
FROM (SELECT DISTINCT split_part(c, '\''='\'', 1) AS name
      FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c
      WHERE r.rolname = :'\''role'\'' AND s.setdatabase = 0) settings
WHERE name IN ('\''default_transaction_read_only'\'', '\''transaction_read_only'\'', '\''search_path'\'', '\''role'\'', '\''session_authorization'\'')
\gexec
-- From PostgreSQL 16 on a membership belongs to whoever granted it.
SELECT format('\''REVOKE %I FROM %I'\'', g.rolname, :'\''role'\'')
  || CASE WHEN current_setting('\''server_version_num'\'')::int >= 160000
     THEN format('\'' GRANTED BY %I'\'', pg_get_userbyid(m.grantor)) ELSE '\'''\'' END
FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
WHERE r.rolname = :'\''role'\''
\gexec
COMMIT;
' | administer postgres
