SET LOCAL lock_timeout = '3s';

ALTER FUNCTION audit_events_forget(interval, integer) SET search_path FROM CURRENT;
ALTER FUNCTION audit_events_anonymize(uuid) SET search_path FROM CURRENT;
