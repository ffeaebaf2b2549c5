SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Beside the queues and not a part of them: a row whose update fails can be counted, and its failures are no change of
-- an account. Without a foreign key, because the rows are in three tables.
CREATE TABLE queue_failures (
    queue           text        NOT NULL,
    row_id          uuid        NOT NULL,
    -- A handful, never near the limit.
    -- squawk-ignore prefer-bigint-over-int
    attempts        integer     NOT NULL,
    next_attempt_at timestamptz,
    last_error      text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT queue_failures_pkey PRIMARY KEY (queue, row_id),
    CONSTRAINT queue_failures_queue_known CHECK (queue IN ('registrations', 'recovery_requests', 'deletions')),
    CONSTRAINT queue_failures_last_error_length CHECK (octet_length(last_error) <= 1024)
);

COMMENT ON TABLE queue_failures IS
    'Rows of queues whose processing failed: when each is tried again, or that it is set aside. Other rows of the queue do not wait for them.';
COMMENT ON COLUMN queue_failures.queue IS
    'registrations and recovery_requests: mail to be written. deletions: accounts whose deletion is due.';
COMMENT ON COLUMN queue_failures.row_id IS
    'The id of the row in registrations, recovery_requests or users.';
COMMENT ON COLUMN queue_failures.attempts IS
    'How many attempts failed.';
COMMENT ON COLUMN queue_failures.next_attempt_at IS
    'When the row is tried again. Null: it is set aside, until an operator runs frontdesk queue retry.';
COMMENT ON COLUMN queue_failures.last_error IS
    'Why the last attempt failed.';
COMMENT ON COLUMN queue_failures.created_at IS
    'When the first attempt failed.';
COMMENT ON INDEX queue_failures_pkey IS 'Whether a row of a queue waits or is set aside.';
