-- What some settings are in the running server. Variables: names (a list of strings, put in by the look).
SHOW GLOBAL VARIABLES WHERE Variable_name IN (@NAMES@);
