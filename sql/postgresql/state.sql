-- Everything a run wants to know of a server, in one reading: one JSON document per line.
-- Variables: role, database. Read-only.
\set QUIET on
SELECT json_build_object(
  'version', current_setting('server_version'),
  'system', (SELECT system_identifier::text FROM pg_control_system()),
  'recovery', pg_is_in_recovery(),
  'started', extract(epoch FROM pg_postmaster_start_time()),
  'loaded', extract(epoch FROM pg_conf_load_time()),
  'settings', (
    SELECT json_object_agg(name, json_build_array(setting, context = 'postmaster', sourcefile, pending_restart))
    FROM pg_settings
    WHERE sourcefile IS NOT NULL OR pending_restart
      OR name IN ('listen_addresses', 'max_connections', 'password_encryption', 'hba_file')),
  'restart', (SELECT json_agg(name) FROM pg_settings WHERE context = 'postmaster'),
  'files', (
    SELECT coalesce(json_agg(json_build_array(sourcefile, sourceline, name, setting, error) ORDER BY seqno), '[]')
    FROM pg_file_settings),
  'hba', (
    SELECT coalesce(json_agg(json_build_array(line_number, error) ORDER BY line_number), '[]')
    FROM pg_hba_file_rules WHERE error IS NOT NULL AND error NOT LIKE '%cannot match%'),
  'role', (
    SELECT json_build_object(
      'login', rolcanlogin, 'superuser', rolsuper, 'createdb', rolcreatedb, 'createrole', rolcreaterole,
      'replication', rolreplication, 'bypassrls', rolbypassrls, 'inherit', rolinherit,
      'limit', rolconnlimit, 'password', rolpassword,
      'until', CASE WHEN rolvaliduntil <> 'infinity' THEN rolvaliduntil::text END,
      'settings', (
        SELECT coalesce(json_agg(DISTINCT split_part(c, '=', 1)), '[]')
        FROM pg_db_role_setting s, unnest(s.setconfig) c
        WHERE s.setrole = r.oid AND s.setdatabase = 0),
      'groups', (
        SELECT coalesce(json_agg(DISTINCT g.rolname), '[]')
        FROM pg_auth_members m JOIN pg_authid g ON g.oid = m.roleid
        WHERE m.member = r.oid))
    FROM pg_authid r WHERE rolname = :'role'),
  'database', (
    SELECT json_build_object(
      'oid', d.oid::bigint, 'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding),
      'collate', datcollate, 'open', datallowconn, 'limit', datconnlimit, 'size', pg_database_size(d.oid),
      'connect', coalesce((
        SELECT has_database_privilege(r.oid, d.oid, 'CONNECT') AND has_database_privilege(r.oid, d.oid, 'TEMPORARY')
        FROM pg_roles r WHERE rolname = :'role'), false))
    FROM pg_database d WHERE datname = :'database')
);
SELECT count(*) = 1 AS there FROM pg_database WHERE datname = :'database' AND datallowconn \gset
\if :there
\connect :"database"
SELECT json_build_object(
  'tables', (
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')),
  'foreign', (
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'S', 'v', 'm') AND pg_get_userbyid(c.relowner) <> :'role'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')),
  'schema', coalesce((
    SELECT has_schema_privilege(r.oid, n.oid, 'CREATE') AND has_schema_privilege(r.oid, n.oid, 'USAGE')
    FROM pg_roles r, pg_namespace n WHERE r.rolname = :'role' AND n.nspname = 'public'), false));
-- In a statement of its own, as it need not exist. The type is checked because a cast of the
-- role's own making would run here with an administrator's rights.
SELECT count(*) = 1 AS there
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = 'public' AND c.relname = 'alembic_version' AND c.relkind = 'r'
  AND a.attname = 'version_num' AND a.atttypid = 'varchar'::regtype \gset
\if :there
SELECT json_build_object('revision', (SELECT min(version_num::text) FROM ONLY public.alembic_version));
\else
-- Of MLflow's own accounts, whose tables are in a database of their own.
SELECT count(*) = 1 AS there
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = 'public' AND c.relname = 'alembic_version_auth' AND c.relkind = 'r'
  AND a.attname = 'version_num' AND a.atttypid = 'varchar'::regtype \gset
\if :there
SELECT json_build_object('revision', (SELECT min(version_num::text) FROM ONLY public.alembic_version_auth));
\endif
\endif
\endif
