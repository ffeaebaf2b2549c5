-- no-transaction
-- squawk-ignore require-lock-timeout, require-statement-timeout, prefer-robust-stmts
DROP INDEX CONCURRENTLY mail_outbox_recipient_canonical_idx;
