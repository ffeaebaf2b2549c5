SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

COMMENT ON INDEX audit_events_account_deleted_idx IS NULL;
COMMENT ON INDEX audit_events_without_user_idx IS NULL;
