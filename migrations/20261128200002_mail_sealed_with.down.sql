SET LOCAL lock_timeout = '3s';

ALTER TABLE mail_outbox DROP COLUMN sealed_with;
