-- no-transaction
CREATE INDEX CONCURRENTLY users_deletion_due_at_idx ON users (deletion_due_at) WHERE deletion_due_at IS NOT NULL;
