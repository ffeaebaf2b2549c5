SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

COMMENT ON INDEX audit_events_account_deleted_idx IS 'Finds the accounts whose late events are to be anonymized.';
COMMENT ON INDEX audit_events_without_user_idx IS 'Finds the events without a user whose IP address is to be removed.';
