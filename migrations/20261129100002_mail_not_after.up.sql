SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Nullable without a default: no row is rewritten, and the previous version inserts rows without them.
ALTER TABLE mail_outbox
    ADD COLUMN not_after timestamptz,
    -- A handful, never near the limit.
    -- squawk-ignore prefer-bigint-over-int
    ADD COLUMN combined integer;

COMMENT ON COLUMN mail_outbox.not_after IS
    'The mail is not sent after this time: the link in it has expired, or the notice is out of date. Null: inserted by an earlier version.';
COMMENT ON COLUMN mail_outbox.combined IS
    'How many notices this mail stands for. Null: the mail was not held back by a limit.';
