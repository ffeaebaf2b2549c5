SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Every server that serves sessions from memory, and until when it may.
CREATE TABLE session_caches (
    id            uuid        NOT NULL,
    trusted_until timestamptz NOT NULL,
    answered      bigint      NOT NULL DEFAULT 0,
    started_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT session_caches_pkey PRIMARY KEY (id)
)
WITH (fillfactor = 50);

CREATE SEQUENCE session_asks AS bigint;

-- Names on the channel of the schema what changed, in the transaction that changes it. Two bytes of the
-- digest, or of the person's id, are enough to forget by and too few to be of use to anybody. More than a
-- hundred of them: forget everything. New rows are not announced, nobody can know them; nor is an activity
-- that only lengthens a life, nor the deletion of what had expired.
CREATE FUNCTION sessions_announce() RETURNS trigger
LANGUAGE plpgsql AS
$$
DECLARE
    stripes text;
    number  bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT string_agg(stripe, ','), count(*)
          INTO stripes, number
          FROM (SELECT DISTINCT encode(substring(o.token_digest FROM 1 FOR 2), 'hex') AS stripe
                  FROM old_rows o
                 WHERE o.expires_at > now()
                 LIMIT 101) AS changed;
    ELSE
        SELECT string_agg(stripe, ','), count(*)
          INTO stripes, number
          FROM (SELECT DISTINCT encode(substring(o.token_digest FROM 1 FOR 2), 'hex') AS stripe
                  FROM old_rows o
                  LEFT JOIN new_rows n ON n.token_digest = o.token_digest
                 WHERE n.token_digest IS NULL
                    OR n.expires_at < o.expires_at
                    OR (n.id, n.user_id, n.state, n.created_at, n.authenticated_at,
                        n.absolute_expires_at, n.idle_timeout, n.remembered, n.format_version)
                       IS DISTINCT FROM
                       (o.id, o.user_id, o.state, o.created_at, o.authenticated_at,
                        o.absolute_expires_at, o.idle_timeout, o.remembered, o.format_version)
                 LIMIT 101) AS changed;
    END IF;
    IF number > 100 THEN
        PERFORM pg_notify('frontdesk.' || left(TG_TABLE_SCHEMA, 50), 'all');
    ELSIF number > 0 THEN
        PERFORM pg_notify('frontdesk.' || left(TG_TABLE_SCHEMA, 50), 'sessions:' || stripes);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION users_announce() RETURNS trigger
LANGUAGE plpgsql AS
$$
DECLARE
    stripes text;
    number  bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT string_agg(stripe, ','), count(*)
          INTO stripes, number
          FROM (SELECT DISTINCT right(o.id::text, 4) AS stripe FROM old_rows o LIMIT 101) AS changed;
    ELSE
        SELECT string_agg(stripe, ','), count(*)
          INTO stripes, number
          FROM (SELECT DISTINCT right(o.id::text, 4) AS stripe
                  FROM old_rows o
                  LEFT JOIN new_rows n ON n.id = o.id
                 WHERE n.id IS NULL
                    OR (n.email, n.display_name, n.role, n.disabled_at)
                       IS DISTINCT FROM (o.email, o.display_name, o.role, o.disabled_at)
                 LIMIT 101) AS changed;
    END IF;
    IF number > 100 THEN
        PERFORM pg_notify('frontdesk.' || left(TG_TABLE_SCHEMA, 50), 'all');
    ELSIF number > 0 THEN
        PERFORM pg_notify('frontdesk.' || left(TG_TABLE_SCHEMA, 50), 'users:' || stripes);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION truncation_announce() RETURNS trigger
LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM pg_notify('frontdesk.' || left(TG_TABLE_SCHEMA, 50), 'all');
    RETURN NULL;
END
$$;

CREATE TRIGGER sessions_deleted AFTER DELETE ON sessions
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION sessions_announce();
CREATE TRIGGER sessions_updated AFTER UPDATE ON sessions
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION sessions_announce();
CREATE TRIGGER sessions_truncated AFTER TRUNCATE ON sessions
    FOR EACH STATEMENT EXECUTE FUNCTION truncation_announce();
CREATE TRIGGER users_deleted AFTER DELETE ON users
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION users_announce();
CREATE TRIGGER users_updated AFTER UPDATE ON users
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION users_announce();
CREATE TRIGGER users_truncated AFTER TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION truncation_announce();

COMMENT ON TABLE session_caches IS
    'Servers that serve sessions from memory, a row each. Whoever ends a session waits for those that may still know it.';
COMMENT ON COLUMN session_caches.id IS
    'The running server; a new one at each start.';
COMMENT ON COLUMN session_caches.trusted_until IS
    'Until then at most it answers from memory; renewed every second. Past: it asks this database.';
COMMENT ON COLUMN session_caches.answered IS
    'Everything that was committed before this number was drawn from session_asks, it has forgotten.';
COMMENT ON COLUMN session_caches.started_at IS
    'When the server began.';
COMMENT ON INDEX session_caches_pkey IS 'One row for each server.';
COMMENT ON SEQUENCE session_asks IS
    'Numbers the questions "have you forgotten?".';
COMMENT ON FUNCTION sessions_announce() IS
    'Tells the servers which sessions changed or ended.';
COMMENT ON FUNCTION users_announce() IS
    'Tells the servers whose name, address, role or state changed.';
COMMENT ON FUNCTION truncation_announce() IS
    'Tells the servers to forget everything.';
