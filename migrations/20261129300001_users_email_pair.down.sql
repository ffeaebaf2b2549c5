SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

DROP TRIGGER users_email_pair ON users;
DROP FUNCTION check_email_pair();

COMMENT ON COLUMN users.email IS
    'Email address as the user typed it; mail is sent here.';
