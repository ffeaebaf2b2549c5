SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Unlogged: it only explains. After a crash of PostgreSQL, the sign-in form gives no cause.
CREATE UNLOGGED TABLE ended_sessions (
    token_digest bytea       NOT NULL,
    cause        text        NOT NULL,
    ended_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ended_sessions_pkey PRIMARY KEY (token_digest),
    CONSTRAINT ended_sessions_cause_form CHECK (cause ~ '^[a-z]+(_[a-z]+)*$')
);

CREATE INDEX ended_sessions_ended_at_idx ON ended_sessions (ended_at);

COMMENT ON TABLE ended_sessions IS
    'Why sessions ended that were ended within the last week, so that the sign-in form can tell the browser that had one. Emptying it only removes that sentence.';
COMMENT ON COLUMN ended_sessions.token_digest IS
    'The SHA-256 of the secret in the cookie of the former session.';
COMMENT ON COLUMN ended_sessions.cause IS
    'Why it ended, as in details.cause of its event in audit_events.';
COMMENT ON COLUMN ended_sessions.ended_at IS
    'When it ended.';
COMMENT ON INDEX ended_sessions_pkey IS 'Finds the session of a cookie.';
COMMENT ON INDEX ended_sessions_ended_at_idx IS 'Used by the purge.';
