-- The login role, with nothing but what its own database needs.
-- Variables: role, limit, verifier (SCRAM, made by the operator's side; empty: the password stays).
\set QUIET on
SELECT count(*) = 0 AS absent, :'verifier' <> '' AS secret FROM pg_roles WHERE rolname = :'role' \gset
BEGIN;
\if :absent
CREATE ROLE :"role";
\endif
ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT
  CONNECTION LIMIT :limit VALID UNTIL 'infinity';
\if :secret
ALTER ROLE :"role" PASSWORD :'verifier';
\endif
SELECT format('ALTER ROLE %I RESET %I', :'role', name)
FROM (SELECT DISTINCT split_part(c, '=', 1) AS name
      FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c
      WHERE r.rolname = :'role' AND s.setdatabase = 0) settings
WHERE name IN ('default_transaction_read_only', 'transaction_read_only', 'search_path', 'role', 'session_authorization')
\gexec
-- From PostgreSQL 16 on a membership belongs to whoever granted it.
SELECT format('REVOKE %I FROM %I', g.rolname, :'role')
  || CASE WHEN current_setting('server_version_num')::int >= 160000
     THEN format(' GRANTED BY %I', pg_get_userbyid(m.grantor)) ELSE '' END
FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
WHERE r.rolname = :'role'
\gexec
COMMIT;
