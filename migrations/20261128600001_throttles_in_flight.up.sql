SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

ALTER TABLE throttles
    -- At most the number of requests in flight, never near the limit.
    -- squawk-ignore prefer-bigint-over-int
    ADD COLUMN in_flight integer NOT NULL DEFAULT 0,
    ADD COLUMN in_flight_since timestamptz;

COMMENT ON COLUMN throttles.tries IS
    'Attempts that were allowed and not refunded since the counter was last reset, including those in flight.';
COMMENT ON COLUMN throttles.in_flight IS
    'Of the attempts in tries, those of a shared IP address whose outcome is not known yet. Each counts a quarter.';
COMMENT ON COLUMN throttles.in_flight_since IS
    'When the first of the attempts in flight began. A minute later, all of them count fully.';
