-- no-transaction
DROP INDEX CONCURRENTLY users_deletion_due_at_idx;
