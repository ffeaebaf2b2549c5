SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE sessions (
    token_digest        bytea       NOT NULL,
    id                  uuid        NOT NULL,
    user_id             uuid,
    state               jsonb       NOT NULL DEFAULT '{}',
    created_at          timestamptz NOT NULL DEFAULT now(),
    authenticated_at    timestamptz,
    last_seen_at        timestamptz NOT NULL DEFAULT now(),
    expires_at          timestamptz NOT NULL,
    absolute_expires_at timestamptz NOT NULL,
    idle_timeout        interval    NOT NULL,
    remembered          boolean     NOT NULL DEFAULT false,
    auth_methods        text[]      NOT NULL DEFAULT '{}',
    ip_address          inet,
    user_agent          text,
    -- A version, not a count: it never nears the limit.
    -- squawk-ignore prefer-bigint-over-smallint
    format_version      smallint    NOT NULL DEFAULT 1,
    -- Whole hours, so that sliding expires_at seldom changes an indexed column and updates stay HOT.
    purge_after         timestamptz NOT NULL
        GENERATED ALWAYS AS (date_bin('01:00:00', expires_at, '2000-01-01 00:00:00+00')) STORED,
    CONSTRAINT sessions_pkey PRIMARY KEY (token_digest),
    CONSTRAINT sessions_id_key UNIQUE (id),
    CONSTRAINT sessions_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT sessions_token_digest_length CHECK (octet_length(token_digest) = 32),
    CONSTRAINT sessions_expiry_order CHECK (expires_at <= absolute_expires_at),
    CONSTRAINT sessions_state_is_object CHECK (jsonb_typeof(state) = 'object'),
    CONSTRAINT sessions_user_agent_length CHECK (octet_length(user_agent) <= 512)
)
WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX sessions_user_id_idx ON sessions (user_id);
CREATE INDEX sessions_purge_after_idx ON sessions (purge_after);

COMMENT ON TABLE sessions IS
    'Everybody who is signed in, one row for each browser. DELETE a row and that browser is signed out.';
COMMENT ON COLUMN sessions.token_digest IS
    'SHA-256 of the secret in the cookie. The secret itself is nowhere in the database.';
COMMENT ON COLUMN sessions.id IS
    'UUID version 7, public: shown on pages and in logs, useless as a credential.';
COMMENT ON COLUMN sessions.user_id IS
    'Who is signed in; null before sign-in.';
COMMENT ON COLUMN sessions.state IS
    'What the application keeps for this session, as a JSON object; what has a column is not repeated here.';
COMMENT ON COLUMN sessions.created_at IS
    'When the session began.';
COMMENT ON COLUMN sessions.authenticated_at IS
    'When this person last proved who they are in this session; null before sign-in.';
COMMENT ON COLUMN sessions.last_seen_at IS
    'Last recorded activity; recorded at most once a minute, never moves backwards.';
COMMENT ON COLUMN sessions.expires_at IS
    'The session is over from here on. Slides with activity, never past absolute_expires_at.';
COMMENT ON COLUMN sessions.absolute_expires_at IS
    'The end that no activity moves. Set once, when the session begins.';
COMMENT ON COLUMN sessions.idle_timeout IS
    'How long this session may rest. Set once: a later change of the setting does not touch it.';
COMMENT ON COLUMN sessions.remembered IS
    'The person asked to stay signed in: the cookie outlives the browser.';
COMMENT ON COLUMN sessions.auth_methods IS
    'How they proved it, in the terms of RFC 8176: pwd for a password.';
COMMENT ON COLUMN sessions.ip_address IS
    'The address the sign-in came from.';
COMMENT ON COLUMN sessions.user_agent IS
    'What the browser called itself at sign-in, at most 512 bytes.';
COMMENT ON COLUMN sessions.format_version IS
    'How state is written; this version and the one before it read each other''s rows.';
COMMENT ON COLUMN sessions.purge_after IS
    'expires_at rounded down to the hour, for the purge alone.';
COMMENT ON INDEX sessions_pkey IS 'Finds the session of a cookie.';
COMMENT ON INDEX sessions_id_key IS 'Finds a session by its public id.';
COMMENT ON INDEX sessions_user_id_idx IS 'Lists the sessions of a person and ends them.';
COMMENT ON INDEX sessions_purge_after_idx IS 'Serves the purge; moves at most once an hour for a session.';
