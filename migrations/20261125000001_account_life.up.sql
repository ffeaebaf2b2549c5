SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Nullable without a default: no row is rewritten, and the version before serves on.
ALTER TABLE users ADD COLUMN email_verified_at timestamptz;
ALTER TABLE users ADD COLUMN deletion_due_at timestamptz;

COMMENT ON COLUMN users.email_verified_at IS
    'When somebody proved to read mail at users.email; null: nobody has yet.';
COMMENT ON COLUMN users.deletion_due_at IS
    'The person asked for the account to be deleted; it is from then on. Null: it stays.';
