SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Always en for now: the view user_profiles promises the column. The constraints are validated in a migration of their
-- own, because that reads the tables.
ALTER TABLE users
    ADD COLUMN language text NOT NULL DEFAULT 'en',
    ADD CONSTRAINT users_language_form
        CHECK (octet_length(language) <= 35 AND language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$') NOT VALID;
ALTER TABLE mail_outbox
    ADD COLUMN language text NOT NULL DEFAULT 'en',
    ADD CONSTRAINT mail_outbox_language_form
        CHECK (octet_length(language) <= 35 AND language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$') NOT VALID;

COMMENT ON COLUMN users.language IS
    'The language of pages and mails for the user, as a BCP 47 tag. Always en in this version.';
COMMENT ON COLUMN mail_outbox.language IS
    'The language of the mail, as a BCP 47 tag. Always en in this version.';
