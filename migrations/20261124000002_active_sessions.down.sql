SET LOCAL lock_timeout = '3s';

COMMENT ON SEQUENCE audit_events_id_seq IS NULL;
DROP VIEW active_sessions;
