-- The accounts of one user name. Variables: user. Read-only.
SELECT JSON_OBJECT('account', JSON_OBJECT('host', u.Host, 'plugin', u.plugin,
  'password', HEX(u.authentication_string),
  'locked', IF(u.account_locked = 'Y', 1, 0), 'expired', IF(u.password_expired = 'Y', 1, 0), 'others', 0,
  'tls', CASE u.ssl_type WHEN '' THEN 0 WHEN 'ANY' THEN 1 ELSE 2 END, 'limit', u.max_user_connections,
  'roles', (SELECT COUNT(*) FROM mysql.role_edges r WHERE r.TO_USER = u.User AND r.TO_HOST = u.Host)))
FROM mysql.user u WHERE u.User = :'user';
