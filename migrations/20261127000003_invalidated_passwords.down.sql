SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

COMMENT ON COLUMN users.password_changed_at IS
    'When the password was last chosen; a rehash with newer parameters does not count.';
COMMENT ON TABLE email_tokens IS
    'Links that were mailed to people with an account, one row each; used once, then gone.';
COMMENT ON COLUMN email_tokens.email_canonical IS
    'The same as it is compared. A link never confirms another address than this one.';
COMMENT ON COLUMN email_tokens.created_at IS
    'When it was mailed.';
