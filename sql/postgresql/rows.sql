-- How many rows two tables have whose `kept` column says 'active', counted up to a limit.
-- Variables: one, other (tables of schema public), kept (a column of both), most. Read-only.
-- Locked before they are looked at: what is read with an administrator's rights must stay the plain
-- table it is, with a column of a built-in type.
BEGIN;
SET LOCAL lock_timeout = '2s';
LOCK TABLE ONLY public.:"one", ONLY public.:"other" IN ACCESS SHARE MODE;
SELECT count(*) = 2 AS plain
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = 'public' AND c.relname IN (:'one', :'other') AND c.relkind = 'r'
  AND a.attname = :'kept' AND a.atttypid = 'varchar'::regtype \gset
\if :plain
SELECT (SELECT count(*) FROM (SELECT FROM ONLY public.:"one" WHERE :"kept" = 'active' LIMIT :most) x),
       (SELECT count(*) FROM (SELECT FROM ONLY public.:"other" WHERE :"kept" = 'active' LIMIT :most) x);
\endif
COMMIT;
