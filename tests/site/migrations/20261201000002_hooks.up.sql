CREATE TABLE hook_calls (
    number bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT hook_calls_pkey PRIMARY KEY,
    id     uuid,
    event  text NOT NULL,
    email  text
);

-- What a hook does: fail, hang, pg_sleep, panic, ignore, rollback, huge, slow. Without a row it succeeds.
CREATE TABLE hook_behavior (
    event    text NOT NULL,
    email    text,
    behavior text NOT NULL
);
