SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Unlogged: written at every attempt; after a crash of PostgreSQL everybody begins anew.
CREATE UNLOGGED TABLE throttles (
    action     text        NOT NULL,
    subject    bytea       NOT NULL,
    -- A handful, never near the limit.
    -- squawk-ignore prefer-bigint-over-int
    tries      integer     NOT NULL,
    free_at    timestamptz NOT NULL,
    tried_at   timestamptz NOT NULL,
    forget_at  timestamptz NOT NULL,
    CONSTRAINT throttles_pkey PRIMARY KEY (action, subject),
    CONSTRAINT throttles_action_form CHECK (action ~ '^[a-z]+(_[a-z]+)*$')
)
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX throttles_forget_at_idx ON throttles (forget_at);

COMMENT ON TABLE throttles IS
    'How often something was tried lately, for each account, address, and pair of them. Emptying it lets everybody try again.';
COMMENT ON COLUMN throttles.action IS
    'What was tried, and by what it is counted: sign_in_account, sign_in_address, and so on.';
COMMENT ON COLUMN throttles.subject IS
    'A digest of the account, the address, or both, so that nothing that somebody typed stands here.';
COMMENT ON COLUMN throttles.tries IS
    'Tries that were let through since they were last forgotten.';
COMMENT ON COLUMN throttles.free_at IS
    'The next try is let through from then on.';
COMMENT ON COLUMN throttles.tried_at IS
    'The last try that was let through.';
COMMENT ON COLUMN throttles.forget_at IS
    'From then on it is as if nothing had been tried; the purge takes the row away.';
COMMENT ON INDEX throttles_pkey IS 'Finds the counter.';
COMMENT ON INDEX throttles_forget_at_idx IS 'Serves the purge.';
