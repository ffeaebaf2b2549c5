SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

DROP TRIGGER users_truncated_in_database ON users;
DROP TRIGGER users_deleted_in_database ON users;
DROP TRIGGER users_changed_in_database ON users;
DROP TRIGGER sessions_truncated_in_database ON sessions;
DROP TRIGGER sessions_deleted_in_database ON sessions;
DROP FUNCTION audit_changed_user();
DROP FUNCTION audit_truncated_table();
DROP FUNCTION audit_deleted_sessions();
