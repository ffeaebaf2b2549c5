SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

COMMENT ON COLUMN throttles.tries IS
    'Number of attempts allowed since the counter was last reset.';
ALTER TABLE throttles
    DROP COLUMN in_flight,
    DROP COLUMN in_flight_since;
