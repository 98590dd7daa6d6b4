-- Whether any table of a database has a row that no migration made (one makes the first of `workspaces`): 1 or 0.
-- MLflow's server makes an experiment at its first start, its accounts have one: only where neither is there every
-- table is looked into. Variables: database. Read-only.
SET SESSION group_concat_max_len = 1000000;
SET @used = 0;
SET @q = COALESCE((
  SELECT CONCAT('SELECT EXISTS(SELECT 1 FROM :"database".', MIN(TABLE_NAME), ') INTO @used')
  FROM information_schema.TABLES WHERE TABLE_SCHEMA = :'database' AND TABLE_TYPE = 'BASE TABLE'
    AND TABLE_NAME IN ('experiments', 'users')), 'DO 0');
PREPARE look FROM @q;
EXECUTE look;
SET @q = IF(@used, 'SELECT ''used 1''', COALESCE((
  SELECT CONCAT('SELECT CONCAT(''used '', MAX(used)) FROM (', GROUP_CONCAT(CONCAT(
    IF(TABLE_NAME = 'workspaces', 'SELECT (SELECT COUNT(*) > 1 FROM `', 'SELECT EXISTS(SELECT 1 FROM `'),
    REPLACE(TABLE_SCHEMA, '`', '``'), '`.`', REPLACE(TABLE_NAME, '`', '``'), '`) AS used') SEPARATOR ' UNION ALL '), ') found')
  FROM information_schema.TABLES WHERE TABLE_SCHEMA = :'database' AND TABLE_TYPE = 'BASE TABLE'
    AND LEFT(TABLE_NAME, 15) <> 'alembic_version'), 'SELECT ''used 0'''));
PREPARE look FROM @q;
EXECUTE look;
