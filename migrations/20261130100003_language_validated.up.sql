SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60min';

-- Reads both tables, beside reads and writes of them.
ALTER TABLE users VALIDATE CONSTRAINT users_language_form;
ALTER TABLE mail_outbox VALIDATE CONSTRAINT mail_outbox_language_form;
