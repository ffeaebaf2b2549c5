SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE audit_events (
    id          bigint      GENERATED ALWAYS AS IDENTITY,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    event       text        NOT NULL,
    user_id     uuid,
    session_id  uuid,
    actor       text        NOT NULL DEFAULT 'user',
    ip_address  inet,
    user_agent  text,
    request_id  uuid,
    details     jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT audit_events_pkey PRIMARY KEY (id),
    CONSTRAINT audit_events_actor_known CHECK (actor IN ('user', 'operator', 'system')),
    CONSTRAINT audit_events_event_form CHECK (event ~ '^[a-z]+(_[a-z]+)*$'),
    CONSTRAINT audit_events_user_agent_length CHECK (octet_length(user_agent) <= 512)
);

CREATE INDEX audit_events_user_id_idx ON audit_events (user_id, occurred_at DESC);
CREATE INDEX audit_events_occurred_at_idx ON audit_events (occurred_at);

COMMENT ON TABLE audit_events IS
    'What happened to accounts and sessions, written in the same transaction as the event itself. Append-only.';
COMMENT ON COLUMN audit_events.id IS
    'Grows with time; gaps mean nothing.';
COMMENT ON COLUMN audit_events.occurred_at IS
    'When it happened, by the clock of the database.';
COMMENT ON COLUMN audit_events.event IS
    'What happened: registered, signed_in, sign_in_refused, session_ended, password_changed, and so on.';
COMMENT ON COLUMN audit_events.user_id IS
    'Whom it concerns; no foreign key, so that the trail outlives the account.';
COMMENT ON COLUMN audit_events.session_id IS
    'The public id of the session it concerns, if one.';
COMMENT ON COLUMN audit_events.actor IS
    'Who did it: user (from a page), operator (from the command line), system (by itself).';
COMMENT ON COLUMN audit_events.ip_address IS
    'The address the request came from; null when there was no request.';
COMMENT ON COLUMN audit_events.user_agent IS
    'What the browser called itself, at most 512 bytes.';
COMMENT ON COLUMN audit_events.request_id IS
    'The id that the log lines and the error page of that request carry.';
COMMENT ON COLUMN audit_events.details IS
    'What else is worth knowing, such as the cause; never a secret, never what somebody typed.';
COMMENT ON INDEX audit_events_pkey IS 'Order of writing.';
COMMENT ON INDEX audit_events_user_id_idx IS 'The trail of one person, newest first.';
COMMENT ON INDEX audit_events_occurred_at_idx IS 'Serves retention.';
