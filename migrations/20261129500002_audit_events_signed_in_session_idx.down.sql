-- no-transaction
-- squawk-ignore require-lock-timeout, require-statement-timeout, prefer-robust-stmts
DROP INDEX CONCURRENTLY audit_events_signed_in_session_idx;
