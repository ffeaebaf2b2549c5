SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE invitations (
    id              uuid        NOT NULL,
    token_digest    bytea       NOT NULL,
    email           text        NOT NULL,
    email_canonical text        NOT NULL,
    display_name    text,
    role            text        NOT NULL DEFAULT 'user',
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL,
    CONSTRAINT invitations_pkey PRIMARY KEY (id),
    CONSTRAINT invitations_token_digest_key UNIQUE (token_digest),
    CONSTRAINT invitations_email_canonical_key UNIQUE (email_canonical),
    CONSTRAINT invitations_token_digest_length CHECK (octet_length(token_digest) = 32),
    CONSTRAINT invitations_email_length CHECK (octet_length(email) BETWEEN 3 AND 512),
    CONSTRAINT invitations_display_name_length CHECK (char_length(display_name) BETWEEN 1 AND 64),
    CONSTRAINT invitations_role_known CHECK (role IN ('user', 'admin'))
);

CREATE INDEX invitations_expires_at_idx ON invitations (expires_at);

COMMENT ON TABLE invitations IS
    'Invitations that administrators sent: one for each email. Deleted when the account is created or the invitation has expired.';
COMMENT ON COLUMN invitations.id IS
    'UUID version 7. Not a secret.';
COMMENT ON COLUMN invitations.token_digest IS
    'SHA-256 of the secret in the mailed link.';
COMMENT ON COLUMN invitations.email IS
    'The email that was invited. It becomes the verified email of the account.';
COMMENT ON COLUMN invitations.email_canonical IS
    'Normalized form of the email, for comparison.';
COMMENT ON COLUMN invitations.display_name IS
    'The name that the form suggests; null if none was given.';
COMMENT ON COLUMN invitations.role IS
    'The role of the account.';
COMMENT ON COLUMN invitations.created_at IS
    'When the invitation was sent, or sent again.';
COMMENT ON COLUMN invitations.expires_at IS
    'When the link stops working.';
COMMENT ON INDEX invitations_pkey IS 'Finds an invitation by id.';
COMMENT ON INDEX invitations_token_digest_key IS 'Finds the invitation of a link.';
COMMENT ON INDEX invitations_email_canonical_key IS 'One invitation for each email: another one replaces it.';
COMMENT ON INDEX invitations_expires_at_idx IS 'Serves the purge.';
