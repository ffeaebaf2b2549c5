-- no-transaction
-- The timeouts are those of the connection: sqlx sends the file as one, and this can not stand beside anything. Without
-- IF NOT EXISTS: what is left of an interrupted build is an invalid index, which has to be dropped, not kept.
-- squawk-ignore require-lock-timeout, require-statement-timeout, prefer-robust-stmts
CREATE INDEX CONCURRENTLY users_deletion_due_at_idx ON users (deletion_due_at) WHERE deletion_due_at IS NOT NULL;
