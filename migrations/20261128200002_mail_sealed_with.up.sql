SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Null in rows of a version before this one, which does not write it.
ALTER TABLE mail_outbox ADD COLUMN sealed_with text;

COMMENT ON COLUMN mail_outbox.sealed_with IS
    'Identifier of the key that encrypted the message: only a server with that key sends it. Null: written by an earlier version.';
