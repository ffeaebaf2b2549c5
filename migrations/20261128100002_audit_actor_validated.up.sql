SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60min';

-- Reads the whole table, beside reads and writes of it.
ALTER TABLE audit_events VALIDATE CONSTRAINT audit_events_actor_known;
