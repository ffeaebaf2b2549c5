SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

ALTER TABLE mail_outbox DROP COLUMN language;
ALTER TABLE users DROP COLUMN language;
