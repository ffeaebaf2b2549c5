SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- A publication must contain the columns of the replica identity of a table, or every UPDATE and DELETE fails. Without
-- this, the identity would be the digest, which does not belong in other databases.
ALTER TABLE sessions REPLICA IDENTITY USING INDEX sessions_id_key;
