-- no-transaction
-- The timeouts are those of the connection, because this must be the only statement of the file. Without
-- IF NOT EXISTS: an interrupted build leaves an invalid index, which has to be dropped, not kept.
-- squawk-ignore require-lock-timeout, require-statement-timeout, prefer-robust-stmts
CREATE INDEX CONCURRENTLY audit_events_without_user_idx ON audit_events (occurred_at) WHERE user_id IS NULL AND ip_address IS NOT NULL;
