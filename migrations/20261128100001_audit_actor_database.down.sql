SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- The previous version knows no other actor for what was not done on its pages or by its commands.
UPDATE audit_events SET actor = 'system' WHERE actor = 'database';

ALTER TABLE audit_events DROP CONSTRAINT audit_events_actor_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE audit_events ADD CONSTRAINT audit_events_actor_known
    CHECK (actor IN ('user', 'operator', 'system'));

COMMENT ON COLUMN audit_events.actor IS
    'Who did it: user (from a page), operator (from the command line), system (a background job).';
