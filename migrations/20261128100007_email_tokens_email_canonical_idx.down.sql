-- no-transaction
-- squawk-ignore require-lock-timeout, require-statement-timeout, prefer-robust-stmts
DROP INDEX CONCURRENTLY email_tokens_email_canonical_idx;
