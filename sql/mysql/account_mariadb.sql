-- One login. Variables: user, host, password (as the catalogue keeps it), limit (connections at once). @REQUIRE@: SSL
-- or NONE.
CREATE USER IF NOT EXISTS :'user'@:'host' IDENTIFIED VIA mysql_native_password USING :'password';
ALTER USER :'user'@:'host' IDENTIFIED VIA mysql_native_password USING :'password' REQUIRE @REQUIRE@
  WITH MAX_USER_CONNECTIONS :limit: ACCOUNT UNLOCK PASSWORD EXPIRE NEVER;
