SET LOCAL lock_timeout = '3s';

DROP TABLE queue_failures;
