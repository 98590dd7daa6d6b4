-- One login. Variables: user, host, password (as the catalogue keeps it), limit (connections at once). @REQUIRE@: SSL
-- or NONE.
CREATE USER IF NOT EXISTS :'user'@:'host' IDENTIFIED WITH caching_sha2_password AS :'password';
ALTER USER :'user'@:'host' IDENTIFIED WITH caching_sha2_password AS :'password' REQUIRE @REQUIRE@
  WITH MAX_USER_CONNECTIONS :limit: PASSWORD EXPIRE NEVER ACCOUNT UNLOCK;
