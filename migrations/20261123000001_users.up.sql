SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE users (
    id                  uuid        NOT NULL,
    email               text        NOT NULL,
    email_canonical     text        NOT NULL,
    display_name        text        NOT NULL,
    role                text        NOT NULL DEFAULT 'user',
    password_hash       text,
    password_changed_at timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    disabled_at         timestamptz,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_canonical_key UNIQUE (email_canonical),
    CONSTRAINT users_email_length CHECK (octet_length(email) BETWEEN 3 AND 512),
    CONSTRAINT users_display_name_length CHECK (char_length(display_name) BETWEEN 1 AND 64),
    CONSTRAINT users_role_known CHECK (role IN ('user', 'admin'))
);

COMMENT ON TABLE users IS
    'Everybody who can sign in. Deleting a row ends all sessions of that person (cascade).';
COMMENT ON COLUMN users.id IS
    'UUID version 7: sorts by the moment of registration. Public, not a secret.';
COMMENT ON COLUMN users.email IS
    'The address as the person typed it; mail goes here.';
COMMENT ON COLUMN users.email_canonical IS
    'The address as it is compared: NFKC, lower case, domain in ASCII. One account for each.';
COMMENT ON COLUMN users.display_name IS
    'What pages call this person: 1 to 64 characters, no line breaks.';
COMMENT ON COLUMN users.role IS
    'user, or admin: may use the operator pages.';
COMMENT ON COLUMN users.password_hash IS
    'argon2id in PHC string form with its parameters and salt; null: nobody can sign in by password.';
COMMENT ON COLUMN users.password_changed_at IS
    'When the password was last chosen; a rehash with newer parameters does not count.';
COMMENT ON COLUMN users.created_at IS
    'When this person registered or was created.';
COMMENT ON COLUMN users.disabled_at IS
    'Set: sign-in is refused and existing sessions are not accepted. Null: enabled.';
COMMENT ON INDEX users_pkey IS 'Finds a person by id.';
COMMENT ON INDEX users_email_canonical_key IS 'One account for each address; finds a person at sign-in.';
