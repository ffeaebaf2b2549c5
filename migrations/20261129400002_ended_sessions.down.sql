SET LOCAL lock_timeout = '3s';

DROP TABLE ended_sessions;
