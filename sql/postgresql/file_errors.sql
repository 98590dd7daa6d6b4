-- What the server would not accept in one configuration file as it is on disk now; what only waits
-- for a restart is accepted. Variables: path.
\set QUIET on
SELECT format('%s line %s: %s', sourcefile, sourceline, error) FROM pg_file_settings
WHERE error IS NOT NULL AND error NOT LIKE 'setting could not be applied%' AND sourcefile = :'path';
