SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE event_deliveries (
    id              uuid        NOT NULL,
    event           text        NOT NULL,
    hook            text        NOT NULL,
    user_id         uuid        NOT NULL,
    sealed          bytea,
    sealed_with     text        NOT NULL,
    state           text        NOT NULL DEFAULT 'waiting',
    -- A few dozen, never near the limit.
    -- squawk-ignore prefer-bigint-over-int
    attempts        integer     NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    retry_until     timestamptz NOT NULL,
    finished_at     timestamptz,
    last_error      text,
    CONSTRAINT event_deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT event_deliveries_event_form CHECK (event ~ '^after(_[a-z]+)+$'),
    CONSTRAINT event_deliveries_hook_length CHECK (octet_length(hook) BETWEEN 1 AND 1024),
    CONSTRAINT event_deliveries_sealed_with_form CHECK (sealed_with ~ '^[0-9a-f]{16}$'),
    CONSTRAINT event_deliveries_state_known CHECK (state IN ('waiting', 'delivered', 'failed')),
    CONSTRAINT event_deliveries_finished CHECK ((state = 'waiting') = (finished_at IS NULL)),
    CONSTRAINT event_deliveries_sealed_until_delivered CHECK ((state = 'delivered') = (sealed IS NULL)),
    CONSTRAINT event_deliveries_last_error_length CHECK (octet_length(last_error) <= 1024)
);

CREATE INDEX event_deliveries_due_idx ON event_deliveries (event, hook, next_attempt_at) WHERE state = 'waiting';
CREATE INDEX event_deliveries_retry_until_idx ON event_deliveries (retry_until) WHERE state = 'waiting';
CREATE INDEX event_deliveries_delivered_idx ON event_deliveries (finished_at) WHERE state = 'delivered';
CREATE INDEX event_deliveries_failed_idx ON event_deliveries (finished_at) WHERE state = 'failed';

COMMENT ON TABLE event_deliveries IS
    'Events that a hook of the site gets after their commit: one row for each event and hook. Without such a hook, nothing is inserted.';
COMMENT ON COLUMN event_deliveries.id IS
    'UUID version 7. The hook gets it, and it is the same at each attempt.';
COMMENT ON COLUMN event_deliveries.event IS
    'after_sign_in, after_sign_out, after_password_changed or after_deletion.';
COMMENT ON COLUMN event_deliveries.hook IS
    'The path of the function in the program of the site. A server takes the events of its own hooks.';
COMMENT ON COLUMN event_deliveries.user_id IS
    'The account. No foreign key: the deletion of an account is an event too.';
COMMENT ON COLUMN event_deliveries.sealed IS
    'What the hook gets, encrypted: the email, the IP address and the device. Null once it was delivered.';
COMMENT ON COLUMN event_deliveries.sealed_with IS
    'The identifier of the key that it is encrypted with.';
COMMENT ON COLUMN event_deliveries.state IS
    'waiting, delivered or failed.';
COMMENT ON COLUMN event_deliveries.attempts IS
    'How many attempts were started.';
COMMENT ON COLUMN event_deliveries.created_at IS
    'When the event happened.';
COMMENT ON COLUMN event_deliveries.next_attempt_at IS
    'When the next attempt is due; during an attempt, when its lease expires.';
COMMENT ON COLUMN event_deliveries.retry_until IS
    'After that time, a further failure is the last one.';
COMMENT ON COLUMN event_deliveries.finished_at IS
    'When it was delivered or has failed.';
COMMENT ON COLUMN event_deliveries.last_error IS
    'Why the last attempt failed.';
COMMENT ON INDEX event_deliveries_pkey IS 'Lists events, newest first.';
COMMENT ON INDEX event_deliveries_due_idx IS 'Finds what is due for a hook.';
COMMENT ON INDEX event_deliveries_retry_until_idx IS 'Finds events whose hook no longer exists.';
COMMENT ON INDEX event_deliveries_delivered_idx IS 'Used by the purge.';
COMMENT ON INDEX event_deliveries_failed_idx IS 'Lists what failed, and is used by the purge.';
