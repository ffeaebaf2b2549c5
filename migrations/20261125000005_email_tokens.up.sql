SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE email_tokens (
    token_digest    bytea       NOT NULL,
    purpose         text        NOT NULL,
    user_id         uuid        NOT NULL,
    email           text        NOT NULL,
    email_canonical text        NOT NULL,
    code_digest     bytea,
    -- A handful, never near the limit.
    -- squawk-ignore prefer-bigint-over-int
    code_tries      integer     NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    code_expires_at timestamptz,
    expires_at      timestamptz NOT NULL,
    CONSTRAINT email_tokens_pkey PRIMARY KEY (token_digest),
    CONSTRAINT email_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT email_tokens_purpose_known
        CHECK (purpose IN ('verify_email', 'reset_password', 'change_email', 'undo_email_change')),
    CONSTRAINT email_tokens_token_digest_length CHECK (octet_length(token_digest) = 32),
    CONSTRAINT email_tokens_code_digest_length CHECK (octet_length(code_digest) = 32)
);

CREATE INDEX email_tokens_user_id_idx ON email_tokens (user_id, purpose);
CREATE INDEX email_tokens_expires_at_idx ON email_tokens (expires_at);

COMMENT ON TABLE email_tokens IS
    'Links that were mailed to people with an account, one row each; used once, then gone.';
COMMENT ON COLUMN email_tokens.token_digest IS
    'SHA-256 of the secret in the link. The secret itself is nowhere in the database.';
COMMENT ON COLUMN email_tokens.purpose IS
    'What the link does: verify_email, reset_password, change_email, undo_email_change.';
COMMENT ON COLUMN email_tokens.user_id IS
    'Whose account.';
COMMENT ON COLUMN email_tokens.email IS
    'The address that the link makes the one of the account, or confirms; as typed.';
COMMENT ON COLUMN email_tokens.email_canonical IS
    'The same as it is compared. A link never confirms another address than this one.';
COMMENT ON COLUMN email_tokens.code_digest IS
    'Digest of the short code to type instead, bound to the account; null where there is none.';
COMMENT ON COLUMN email_tokens.code_tries IS
    'Wrong codes so far.';
COMMENT ON COLUMN email_tokens.created_at IS
    'When it was mailed.';
COMMENT ON COLUMN email_tokens.code_expires_at IS
    'The short code is good until then.';
COMMENT ON COLUMN email_tokens.expires_at IS
    'The link is good until then.';
COMMENT ON INDEX email_tokens_pkey IS 'Finds the row of a link.';
COMMENT ON INDEX email_tokens_user_id_idx IS 'The links of a person: newer ones and changes end older ones.';
COMMENT ON INDEX email_tokens_expires_at_idx IS 'Serves the purge.';
