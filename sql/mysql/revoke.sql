-- Rights of every kind, before those that are wanted are granted. Variables: user, host.
REVOKE ALL PRIVILEGES, GRANT OPTION FROM :'user'@:'host';
