SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

COMMENT ON INDEX users_deletion_due_at_idx IS 'Finds accounts whose days of grace are over.';

CREATE TABLE mail_outbox (
    id              uuid        NOT NULL,
    kind            text        NOT NULL,
    user_id         uuid,
    recipient       text        NOT NULL,
    sealed          bytea,
    state           text        NOT NULL DEFAULT 'waiting',
    -- A handful, never near the limit.
    -- squawk-ignore prefer-bigint-over-int
    attempts        integer     NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    last_error      text,
    CONSTRAINT mail_outbox_pkey PRIMARY KEY (id),
    CONSTRAINT mail_outbox_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT mail_outbox_state_known CHECK (state IN ('waiting', 'sent', 'kept', 'failed')),
    CONSTRAINT mail_outbox_kind_form CHECK (kind ~ '^[a-z]+(_[a-z]+)*$'),
    CONSTRAINT mail_outbox_recipient_length CHECK (octet_length(recipient) BETWEEN 3 AND 512),
    CONSTRAINT mail_outbox_last_error_length CHECK (octet_length(last_error) <= 1024)
);

CREATE INDEX mail_outbox_due_idx ON mail_outbox (next_attempt_at) WHERE state = 'waiting';
CREATE INDEX mail_outbox_finished_at_idx ON mail_outbox (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX mail_outbox_user_id_idx ON mail_outbox (user_id);

COMMENT ON TABLE mail_outbox IS
    'Mail to be sent, put here in the transaction that gives rise to it, and what became of it.';
COMMENT ON COLUMN mail_outbox.id IS
    'UUID version 7; also the Message-ID, so that a receiver can tell a duplicate.';
COMMENT ON COLUMN mail_outbox.kind IS
    'Which message: reset_password, new_device, and so on; the folder below templates/mail.';
COMMENT ON COLUMN mail_outbox.user_id IS
    'Whom it concerns; null when there is no account (yet, or any more).';
COMMENT ON COLUMN mail_outbox.recipient IS
    'The address it goes to.';
COMMENT ON COLUMN mail_outbox.sealed IS
    'What the message says, encrypted with FRONTDESK_SECRET_KEYS: links in it open things. Null once it is sent.';
COMMENT ON COLUMN mail_outbox.state IS
    'waiting; sent; kept (no mail server is set: see /dev/mailbox); failed (given up).';
COMMENT ON COLUMN mail_outbox.attempts IS
    'How often sending was begun.';
COMMENT ON COLUMN mail_outbox.created_at IS
    'When it was put here.';
COMMENT ON COLUMN mail_outbox.next_attempt_at IS
    'Not before then; while a server is sending it, when another may take over.';
COMMENT ON COLUMN mail_outbox.finished_at IS
    'When it was sent, kept or given up.';
COMMENT ON COLUMN mail_outbox.last_error IS
    'Why the last attempt failed, in the words of the mail server.';
COMMENT ON INDEX mail_outbox_pkey IS 'Finds a mail by its id.';
COMMENT ON INDEX mail_outbox_due_idx IS 'What is to be sent next.';
COMMENT ON INDEX mail_outbox_finished_at_idx IS 'Serves the purge.';
COMMENT ON INDEX mail_outbox_user_id_idx IS 'Takes the mail of a deleted account along.';
