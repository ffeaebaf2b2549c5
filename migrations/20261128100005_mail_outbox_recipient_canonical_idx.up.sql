-- no-transaction
-- The timeouts are those of the connection, because this must be the only statement of the file. Without
-- IF NOT EXISTS: an interrupted build leaves an invalid index, which has to be dropped, not kept.
-- squawk-ignore require-lock-timeout, require-statement-timeout, prefer-robust-stmts
CREATE INDEX CONCURRENTLY mail_outbox_recipient_canonical_idx ON mail_outbox (recipient_canonical) WHERE recipient_canonical IS NOT NULL;
