-- One login. Variables: user, host, password (as the catalogue keeps it), limit (connections at once).
CREATE USER IF NOT EXISTS :'user'@:'host' IDENTIFIED VIA mysql_native_password USING :'password';
ALTER USER :'user'@:'host' IDENTIFIED VIA mysql_native_password USING :'password' REQUIRE NONE
  WITH MAX_USER_CONNECTIONS :limit: ACCOUNT UNLOCK PASSWORD EXPIRE NEVER;
