-- no-transaction
-- The timeouts are those of the connection, because this must be the only statement of the file. Without
-- IF NOT EXISTS: an interrupted build leaves an invalid index, which has to be dropped, not kept.
-- squawk-ignore require-lock-timeout, require-statement-timeout, prefer-robust-stmts
CREATE INDEX CONCURRENTLY audit_events_signed_in_session_idx ON audit_events (session_id) WHERE event = 'signed_in';
