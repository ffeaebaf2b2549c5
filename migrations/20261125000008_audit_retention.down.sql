SET LOCAL lock_timeout = '3s';

DROP FUNCTION audit_events_anonymize(uuid);
DROP FUNCTION audit_events_forget(interval, integer);
