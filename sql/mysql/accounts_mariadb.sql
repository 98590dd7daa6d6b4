-- The accounts of one user name. Variables: user. Read-only.
SELECT JSON_OBJECT('account', JSON_OBJECT('host', Host, 'plugin', JSON_VALUE(Priv, '$.plugin'),
  'password', HEX(COALESCE(JSON_VALUE(Priv, '$.authentication_string'), '')),
  'locked', IF(COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) IN ('1', 'true'), 1, 0),
  'expired', IF(COALESCE(JSON_VALUE(Priv, '$.password_last_changed'), 1) IN ('0'), 1, 0),
  'others', IF(JSON_EXISTS(Priv, '$.auth_or'), 1, 0),
  'tls', COALESCE(JSON_VALUE(Priv, '$.ssl_type'), 0) + 0,
  'limit', COALESCE(JSON_VALUE(Priv, '$.max_user_connections'), 0) + 0,
  'roles', (SELECT COUNT(*) FROM mysql.roles_mapping r WHERE r.User = p.User AND r.Host = p.Host)))
FROM mysql.global_priv p WHERE User = :'user' AND COALESCE(JSON_VALUE(Priv, '$.is_role'), 0) IN ('0', 'false');
