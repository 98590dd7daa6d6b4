-- What the server would not accept in pg_hba.conf as it is on disk now. A record that "cannot match"
-- (hostssl without ssl) is accepted.
\set QUIET on
SELECT format('pg_hba.conf line %s: %s', line_number, error) FROM pg_hba_file_rules
WHERE error IS NOT NULL AND error NOT LIKE '%cannot match%' LIMIT 5;
