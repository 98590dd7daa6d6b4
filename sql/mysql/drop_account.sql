-- A login from a host that is this stack's no more. Variables: user, host.
DROP USER IF EXISTS :'user'@:'host';
