-- Which database this is, as the file that mlflow-server has among its inputs. Variables: database.
\set QUIET on
SELECT format(E'# Written by provision: the database that this stack uses. It is no setting.\nsystem %s database %s',
  (SELECT system_identifier FROM pg_control_system()), oid)
FROM pg_database WHERE datname = :'database';
