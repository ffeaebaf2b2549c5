SET LOCAL lock_timeout = '3s';

DROP TRIGGER users_truncated ON users;
DROP TRIGGER users_updated ON users;
DROP TRIGGER users_deleted ON users;
DROP TRIGGER sessions_truncated ON sessions;
DROP TRIGGER sessions_updated ON sessions;
DROP TRIGGER sessions_deleted ON sessions;
DROP FUNCTION truncation_announce();
DROP FUNCTION users_announce();
DROP FUNCTION sessions_announce();
DROP SEQUENCE session_asks;
DROP TABLE session_caches;
