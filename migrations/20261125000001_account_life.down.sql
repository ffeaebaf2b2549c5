SET LOCAL lock_timeout = '3s';

ALTER TABLE users DROP COLUMN deletion_due_at;
ALTER TABLE users DROP COLUMN email_verified_at;
