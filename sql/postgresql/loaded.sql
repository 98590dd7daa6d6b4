-- When the server last read its configuration.
SELECT extract(epoch FROM pg_conf_load_time());
