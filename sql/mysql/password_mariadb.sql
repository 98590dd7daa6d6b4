-- A login's password as it was before a change that failed. Variables: user, host, password.
ALTER USER :'user'@:'host' IDENTIFIED VIA mysql_native_password USING :'password';
