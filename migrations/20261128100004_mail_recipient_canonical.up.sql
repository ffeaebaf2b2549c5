SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Nullable without a default: no row is rewritten, and the previous version inserts rows without it.
ALTER TABLE mail_outbox ADD COLUMN recipient_canonical text;

COMMENT ON COLUMN mail_outbox.recipient_canonical IS
    'Recipient as it is compared. Null: inserted by a version before this column; recipient is then compared in lower case.';
