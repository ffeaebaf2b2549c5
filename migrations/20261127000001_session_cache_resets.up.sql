SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- How many changes were committed without a notification. PostgreSQL refuses to commit a notification while its
-- queue is full (SQLSTATE 54000). The program then runs the transaction again with frontdesk.notifications = off, and
-- the change is counted here instead: every server reads this row with its heartbeat and before it answers a question,
-- and forgets everything when the number is another one.
CREATE TABLE session_cache_resets (
    singleton     boolean     NOT NULL DEFAULT true,
    resets        bigint      NOT NULL DEFAULT 0,
    last_reset_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT session_cache_resets_pkey PRIMARY KEY (singleton),
    CONSTRAINT session_cache_resets_singleton_check CHECK (singleton)
)
WITH (fillfactor = 50);

INSERT INTO session_cache_resets (resets) VALUES (0);

CREATE OR REPLACE FUNCTION sessions_announce() RETURNS trigger
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
    IF number > 0 AND current_setting('frontdesk.notifications', true) = 'off' THEN
        EXECUTE format(
            'INSERT INTO %I.session_cache_resets AS r (resets) VALUES (1)
                 ON CONFLICT (singleton) DO UPDATE SET resets = r.resets + 1, last_reset_at = now()',
            TG_TABLE_SCHEMA);
    ELSIF number > 100 THEN
        PERFORM pg_notify('frontdesk.' || left(TG_TABLE_SCHEMA, 50), 'all');
    ELSIF number > 0 THEN
        PERFORM pg_notify('frontdesk.' || left(TG_TABLE_SCHEMA, 50), 'sessions:' || stripes);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION users_announce() RETURNS trigger
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
    IF number > 0 AND current_setting('frontdesk.notifications', true) = 'off' THEN
        EXECUTE format(
            'INSERT INTO %I.session_cache_resets AS r (resets) VALUES (1)
                 ON CONFLICT (singleton) DO UPDATE SET resets = r.resets + 1, last_reset_at = now()',
            TG_TABLE_SCHEMA);
    ELSIF number > 100 THEN
        PERFORM pg_notify('frontdesk.' || left(TG_TABLE_SCHEMA, 50), 'all');
    ELSIF number > 0 THEN
        PERFORM pg_notify('frontdesk.' || left(TG_TABLE_SCHEMA, 50), 'users:' || stripes);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION truncation_announce() RETURNS trigger
LANGUAGE plpgsql AS
$$
BEGIN
    IF current_setting('frontdesk.notifications', true) = 'off' THEN
        EXECUTE format(
            'INSERT INTO %I.session_cache_resets AS r (resets) VALUES (1)
                 ON CONFLICT (singleton) DO UPDATE SET resets = r.resets + 1, last_reset_at = now()',
            TG_TABLE_SCHEMA);
    ELSE
        PERFORM pg_notify('frontdesk.' || left(TG_TABLE_SCHEMA, 50), 'all');
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON TABLE session_cache_resets IS
    'One row: how often sessions or users changed without a notification because the notification queue was full.';
COMMENT ON COLUMN session_cache_resets.singleton IS
    'Always true: there is one row.';
COMMENT ON COLUMN session_cache_resets.resets IS
    'Changes without a notification. A server that reads another number than before forgets every cached session.';
COMMENT ON COLUMN session_cache_resets.last_reset_at IS
    'When it last happened.';
COMMENT ON INDEX session_cache_resets_pkey IS 'Keeps it at one row.';
