-- How many rows two tables have, counted up to a limit. Variables: one, other, most. Read-only.
-- Locked before they are looked at: what is read with an administrator's rights must stay the plain table it is.
BEGIN;
SET LOCAL lock_timeout = '2s';
LOCK TABLE ONLY public.:"one", ONLY public.:"other" IN ACCESS SHARE MODE;
SELECT count(*) = 2 AS plain FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relname IN (:'one', :'other') AND c.relkind = 'r' \gset
\if :plain
SELECT (SELECT count(*) FROM (SELECT FROM ONLY public.:"one" LIMIT :most) x),
       (SELECT count(*) FROM (SELECT FROM ONLY public.:"other" LIMIT :most) x);
\endif
COMMIT;
