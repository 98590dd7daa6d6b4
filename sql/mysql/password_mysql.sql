-- A login's password as it was before a change that failed. Variables: user, host, password.
ALTER USER :'user'@:'host' IDENTIFIED WITH caching_sha2_password AS :'password';
