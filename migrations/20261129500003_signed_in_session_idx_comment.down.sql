SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

COMMENT ON INDEX audit_events_signed_in_session_idx IS NULL;
