-- How many of some settings wait for a restart. Variables: names (separated by commas).
\set QUIET on
SELECT count(*) FROM pg_settings WHERE pending_restart AND name = ANY (string_to_array(:'names', ','));
