SET LOCAL lock_timeout = '3s';

DROP TABLE suppressed_recipients;
