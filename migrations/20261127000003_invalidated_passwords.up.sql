SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Undoing a change of email takes the password away, and leaves the links that went to the former email.
COMMENT ON COLUMN users.password_changed_at IS
    'When the password was last chosen or invalidated; a rehash with newer parameters does not count.';
COMMENT ON TABLE email_tokens IS
    'Links of people with an account, one row each: mailed, or shown once when a change of email was undone. Used once, then deleted.';
COMMENT ON COLUMN email_tokens.email_canonical IS
    'The same as it is compared. A link never confirms another address than this one; a link that sets a password counts only while it is the address of the account.';
COMMENT ON COLUMN email_tokens.created_at IS
    'When it was created. Undoing a change of email ends the undo links of later changes.';
