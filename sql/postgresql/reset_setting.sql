-- Takes one line out of postgresql.auto.conf. Variables: name.
\set QUIET on
ALTER SYSTEM RESET :"name";
