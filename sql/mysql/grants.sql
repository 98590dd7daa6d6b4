-- What MLflow's own migrations need, on one database. Variables: user, host, database.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES, TRIGGER
  ON :pattern"database".* TO :'user'@:'host';
