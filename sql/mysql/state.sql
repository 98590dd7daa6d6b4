-- Everything a run wants to know of a server: one JSON document a line, then the values of some variables.
-- Variables: user, grantee (as the catalogue writes it, up to the host), database. Read-only.
SET SESSION TRANSACTION READ ONLY;
SET SESSION group_concat_max_len = 1000000;
SELECT JSON_OBJECT('version', VERSION(), 'datadir', @@datadir, 'port', @@port,
  'log_bin', IF(@@log_bin, 1, 0), 'read_only', IF(@@read_only, 1, 0));
SELECT JSON_OBJECT('global', JSON_ARRAY(GRANTEE, PRIVILEGE_TYPE)) FROM information_schema.USER_PRIVILEGES
WHERE LEFT(GRANTEE, CHAR_LENGTH(:'grantee')) = :'grantee' AND (PRIVILEGE_TYPE <> 'USAGE' OR IS_GRANTABLE = 'YES');
SELECT JSON_OBJECT('grants', JSON_ARRAY(GRANTEE, TABLE_SCHEMA, GROUP_CONCAT(PRIVILEGE_TYPE),
  MAX(IS_GRANTABLE))) FROM information_schema.SCHEMA_PRIVILEGES
WHERE LEFT(GRANTEE, CHAR_LENGTH(:'grantee')) = :'grantee' GROUP BY GRANTEE, TABLE_SCHEMA;
SELECT JSON_OBJECT('more', GRANTEE) FROM information_schema.TABLE_PRIVILEGES
WHERE LEFT(GRANTEE, CHAR_LENGTH(:'grantee')) = :'grantee' GROUP BY GRANTEE;
SELECT JSON_OBJECT('database', JSON_OBJECT('charset', DEFAULT_CHARACTER_SET_NAME, 'collation', DEFAULT_COLLATION_NAME))
FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = :'database';
SELECT JSON_OBJECT('tables', COUNT(*), 'size', COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0))
FROM information_schema.TABLES WHERE TABLE_SCHEMA = :'database' AND TABLE_TYPE = 'BASE TABLE';
SELECT JSON_OBJECT('columns', COUNT(*)) FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA = :'database' AND COLLATION_NAME <> 'utf8mb4_bin';
-- Of MLflow, or of its own accounts, whose tables are in a database of their own.
SET @q = COALESCE((
  SELECT CONCAT('SELECT JSON_OBJECT(''revision'', MIN(version_num)) FROM :"database".', MIN(TABLE_NAME))
  FROM information_schema.TABLES WHERE TABLE_SCHEMA = :'database' AND TABLE_TYPE = 'BASE TABLE'
    AND TABLE_NAME IN ('alembic_version', 'alembic_version_auth')), 'DO 0');
PREPARE look FROM @q;
EXECUTE look;
