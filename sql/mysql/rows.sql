-- How many rows two tables have whose `kept` column says 'active', counted up to a limit.
-- Variables: database, one, other (tables), kept (a column of both), most. Read-only.
SET SESSION TRANSACTION READ ONLY;
SELECT CONCAT(
  (SELECT COUNT(*) FROM (SELECT 1 FROM :"database".:"one" WHERE :"kept" = 'active' LIMIT :most:) x), '|',
  (SELECT COUNT(*) FROM (SELECT 1 FROM :"database".:"other" WHERE :"kept" = 'active' LIMIT :most:) y));
