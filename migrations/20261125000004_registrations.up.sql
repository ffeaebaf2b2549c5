SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE registrations (
    id              uuid        NOT NULL,
    ticket_digest   bytea       NOT NULL,
    token_digest    bytea,
    code_digest     bytea,
    -- A handful, never near the limit.
    -- squawk-ignore prefer-bigint-over-int
    code_tries      integer     NOT NULL DEFAULT 0,
    email           text        NOT NULL,
    email_canonical text        NOT NULL,
    display_name    text        NOT NULL,
    password_hash   text        NOT NULL,
    mailed_at       timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    code_expires_at timestamptz,
    expires_at      timestamptz NOT NULL,
    CONSTRAINT registrations_pkey PRIMARY KEY (id),
    CONSTRAINT registrations_ticket_digest_key UNIQUE (ticket_digest),
    CONSTRAINT registrations_token_digest_key UNIQUE (token_digest),
    CONSTRAINT registrations_ticket_digest_length CHECK (octet_length(ticket_digest) = 32),
    CONSTRAINT registrations_token_digest_length CHECK (octet_length(token_digest) = 32),
    CONSTRAINT registrations_code_digest_length CHECK (octet_length(code_digest) = 32)
);

CREATE INDEX registrations_email_canonical_idx ON registrations (email_canonical);
CREATE INDEX registrations_expires_at_idx ON registrations (expires_at);
CREATE INDEX registrations_unmailed_idx ON registrations (created_at) WHERE mailed_at IS NULL;

COMMENT ON TABLE registrations IS
    'People who registered and have not yet shown that the address is theirs. No account until then; gone after a day.';
COMMENT ON COLUMN registrations.id IS
    'UUID version 7.';
COMMENT ON COLUMN registrations.ticket_digest IS
    'SHA-256 of what the browser that registered holds: a code from the mail counts in that browser only.';
COMMENT ON COLUMN registrations.token_digest IS
    'SHA-256 of the secret in the link; null until the mail is written, and for an address that has an account.';
COMMENT ON COLUMN registrations.code_digest IS
    'Digest of the short code, bound to this row; null as token_digest.';
COMMENT ON COLUMN registrations.code_tries IS
    'Wrong codes so far.';
COMMENT ON COLUMN registrations.email IS
    'The address as typed.';
COMMENT ON COLUMN registrations.email_canonical IS
    'The address as it is compared.';
COMMENT ON COLUMN registrations.display_name IS
    'What pages will call this person.';
COMMENT ON COLUMN registrations.password_hash IS
    'Of the password that was chosen; asked for again when the link is used.';
COMMENT ON COLUMN registrations.mailed_at IS
    'When the mail was put into mail_outbox; null: within a second.';
COMMENT ON COLUMN registrations.created_at IS
    'When somebody registered.';
COMMENT ON COLUMN registrations.code_expires_at IS
    'The short code is good until then.';
COMMENT ON COLUMN registrations.expires_at IS
    'The link is good until then.';
COMMENT ON INDEX registrations_pkey IS 'Finds one.';
COMMENT ON INDEX registrations_ticket_digest_key IS 'Finds the one of a browser.';
COMMENT ON INDEX registrations_token_digest_key IS 'Finds the one of a link.';
COMMENT ON INDEX registrations_email_canonical_idx IS 'All of one address: they go when one is verified.';
COMMENT ON INDEX registrations_expires_at_idx IS 'Serves the purge.';
COMMENT ON INDEX registrations_unmailed_idx IS 'What is to be written next.';
