SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Unlogged, like throttles: written with every mail. After a crash of PostgreSQL every limit starts empty.
CREATE UNLOGGED TABLE mail_limits (
    recipient_digest bytea       NOT NULL,
    topic            text        NOT NULL,
    full_at          timestamptz NOT NULL,
    held_mail        uuid,
    CONSTRAINT mail_limits_pkey PRIMARY KEY (recipient_digest, topic),
    CONSTRAINT mail_limits_recipient_digest_length CHECK (octet_length(recipient_digest) = 32),
    CONSTRAINT mail_limits_topic_form CHECK (topic ~ '^[a-z]+(_[a-z]+)*$')
)
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX mail_limits_full_at_idx ON mail_limits (full_at);

COMMENT ON TABLE mail_limits IS
    'How much mail each recipient got recently, by topic. TRUNCATE mail_limits resets all limits.';
COMMENT ON COLUMN mail_limits.recipient_digest IS
    'Digest of the recipient with the key of the site, so that a copy of the database does not contain the email.';
COMMENT ON COLUMN mail_limits.topic IS
    'Kinds of mail that share a limit; "all" counts every kind. The limits are in src/mail/rules.rs.';
COMMENT ON COLUMN mail_limits.full_at IS
    'When the whole limit is available again. Each mail moves it by the interval of the limit.';
COMMENT ON COLUMN mail_limits.held_mail IS
    'The mail in mail_outbox that is held back; further notices of the topic are combined with it until it is sent.';
COMMENT ON INDEX mail_limits_pkey IS 'Finds the limits of a recipient.';
COMMENT ON INDEX mail_limits_full_at_idx IS 'Finds rows to purge.';
