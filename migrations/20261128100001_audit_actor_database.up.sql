SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- NOT VALID: every row satisfies the constraint that it replaces, so the table is not read.
ALTER TABLE audit_events DROP CONSTRAINT audit_events_actor_known;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_actor_known
    CHECK (actor IN ('user', 'operator', 'system', 'database')) NOT VALID;

COMMENT ON COLUMN audit_events.actor IS
    'Who did it: user (from a page), operator (from the command line), system (a background job), database (another client of the database; its role is in details).';
