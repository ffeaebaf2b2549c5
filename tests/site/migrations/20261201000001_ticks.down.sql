DROP TABLE sessions;
DROP TABLE ticks;
