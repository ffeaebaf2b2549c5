SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- PostgreSQL limits the name of a channel to 63 bytes. A name that fits is the same as in earlier versions, because
-- servers of two versions must notify each other during an upgrade.
CREATE FUNCTION notification_channel(schema text) RETURNS text
LANGUAGE sql STABLE AS
$$
    SELECT 'frontdesk.' || CASE
           WHEN octet_length(left(schema, 50)) <= 53 THEN left(schema, 50)
           ELSE left(encode(sha256(convert_to(schema, 'UTF8')), 'hex'), 50)
           END
$$;

-- The search path of the caller may not contain the schema, so every name in it is qualified.
CREATE FUNCTION announce_change(schema text, payload text) RETURNS void
LANGUAGE plpgsql AS
$$
BEGIN
    IF current_setting('frontdesk.notifications', true) = 'off' THEN
        EXECUTE format(
            'INSERT INTO %I.session_cache_resets AS r (resets) VALUES (1)
                 ON CONFLICT (singleton) DO UPDATE SET resets = r.resets + 1, last_reset_at = now()',
            schema);
    ELSE
        EXECUTE format('SELECT pg_notify(%I.notification_channel($1), $2)', schema) USING schema, payload;
    END IF;
END
$$;

-- Updates: a row trigger collects what changed, and a statement trigger sends it. The condition of the row trigger is
-- evaluated without a function call, so a last-seen update costs nothing here. A statement that compares the old rows
-- with the new ones would keep the plan of its first execution: after an update of one row, 1,000 last-seen updates
-- took 150 ms. A list has five characters for each entry; one with more than 500 characters is not added to.
CREATE FUNCTION sessions_note_change() RETURNS trigger
LANGUAGE plpgsql AS
$$
DECLARE
    sessions text := COALESCE(current_setting('frontdesk.changed_sessions', true), '');
    owners   text := COALESCE(current_setting('frontdesk.changed_session_users', true), '');
    stripe   text := encode(substring(OLD.token_digest FROM 1 FOR 2), 'hex') || ',';
    owner    text := COALESCE(right(OLD.user_id::text, 4), 'none') || ',';
BEGIN
    IF length(sessions) <= 500 AND position(stripe IN sessions) = 0 THEN
        PERFORM set_config('frontdesk.changed_sessions', sessions || stripe, true);
    END IF;
    IF length(owners) <= 500 AND position(owner IN owners) = 0 THEN
        PERFORM set_config('frontdesk.changed_session_users', owners || owner, true);
    END IF;
    RETURN NULL;
END
$$;

-- At most 100 stripes of sessions; otherwise those of at most 100 users; otherwise everything.
CREATE OR REPLACE FUNCTION sessions_announce() RETURNS trigger
LANGUAGE plpgsql AS
$$
DECLARE
    sessions text;
    owners   text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT COALESCE(string_agg(encode(stripe, 'hex') || ',', ''), '')
          INTO sessions
          FROM (SELECT DISTINCT substring(o.token_digest FROM 1 FOR 2) AS stripe
                  FROM old_rows o
                 WHERE o.expires_at > now()
                 LIMIT 101) AS ended;
        IF length(sessions) > 500 THEN
            SELECT string_agg(COALESCE(right(owner::text, 4), 'none') || ',', '')
              INTO owners
              FROM (SELECT DISTINCT o.user_id AS owner
                      FROM old_rows o
                     WHERE o.expires_at > now()
                     LIMIT 101) AS ended;
        END IF;
    ELSE
        sessions := COALESCE(current_setting('frontdesk.changed_sessions', true), '');
        owners := current_setting('frontdesk.changed_session_users', true);
    END IF;
    IF sessions = '' THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        PERFORM set_config('frontdesk.changed_sessions', '', true), set_config('frontdesk.changed_session_users', '', true);
    END IF;
    EXECUTE format('SELECT %I.announce_change($1, $2)', TG_TABLE_SCHEMA)
      USING TG_TABLE_SCHEMA,
            CASE WHEN length(sessions) <= 500 THEN 'sessions:' || rtrim(sessions, ',')
                 WHEN length(owners) <= 500 AND position('none,' IN owners) = 0 THEN 'users:' || rtrim(owners, ',')
                 ELSE 'all'
            END;
    RETURN NULL;
END
$$;

-- Users change rarely, so the function compares, and not a condition of the trigger: PostgreSQL refuses to change the
-- type of a column that such a condition names. Through jsonb, because a session keeps the types with which it has
-- executed the function before.
CREATE FUNCTION users_note_change() RETURNS trigger
LANGUAGE plpgsql AS
$$
DECLARE
    before  jsonb := to_jsonb(OLD);
    after   jsonb := to_jsonb(NEW);
    changed text := COALESCE(current_setting('frontdesk.changed_users', true), '');
    stripe  text := right(before ->> 'id', 4) || ',';
BEGIN
    IF (before -> 'id', before -> 'email', before -> 'display_name', before -> 'role', before -> 'disabled_at')
       IS DISTINCT FROM
       (after -> 'id', after -> 'email', after -> 'display_name', after -> 'role', after -> 'disabled_at')
       AND length(changed) <= 500 AND position(stripe IN changed) = 0 THEN
        PERFORM set_config('frontdesk.changed_users', changed || stripe, true);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION users_announce() RETURNS trigger
LANGUAGE plpgsql AS
$$
DECLARE
    changed text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT COALESCE(string_agg(stripe || ',', ''), '')
          INTO changed
          FROM (SELECT DISTINCT right(o.id::text, 4) AS stripe FROM old_rows o LIMIT 101) AS deleted;
    ELSE
        changed := COALESCE(current_setting('frontdesk.changed_users', true), '');
    END IF;
    IF changed = '' THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        PERFORM set_config('frontdesk.changed_users', '', true);
    END IF;
    EXECUTE format('SELECT %I.announce_change($1, $2)', TG_TABLE_SCHEMA)
      USING TG_TABLE_SCHEMA,
            CASE WHEN length(changed) <= 500 THEN 'users:' || rtrim(changed, ',') ELSE 'all' END;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION truncation_announce() RETURNS trigger
LANGUAGE plpgsql AS
$$
BEGIN
    EXECUTE format('SELECT %I.announce_change($1, $2)', TG_TABLE_SCHEMA) USING TG_TABLE_SCHEMA, 'all'::text;
    RETURN NULL;
END
$$;

DROP TRIGGER sessions_updated ON sessions;
DROP TRIGGER users_updated ON users;
-- Every column that src/session/cache/lookup.rs reads, except last_seen_at, and so does users_note_change(). A test
-- compares them.
CREATE TRIGGER sessions_changed AFTER UPDATE ON sessions
    FOR EACH ROW
    WHEN (NEW.expires_at < OLD.expires_at
          OR (OLD.token_digest, OLD.id, OLD.user_id, OLD.state, OLD.created_at, OLD.authenticated_at,
              OLD.absolute_expires_at, OLD.idle_timeout, OLD.remembered, OLD.format_version)
             IS DISTINCT FROM
             (NEW.token_digest, NEW.id, NEW.user_id, NEW.state, NEW.created_at, NEW.authenticated_at,
              NEW.absolute_expires_at, NEW.idle_timeout, NEW.remembered, NEW.format_version))
    EXECUTE FUNCTION sessions_note_change();
CREATE TRIGGER sessions_updated AFTER UPDATE ON sessions
    FOR EACH STATEMENT EXECUTE FUNCTION sessions_announce();
CREATE TRIGGER users_changed AFTER UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION users_note_change();
CREATE TRIGGER users_updated AFTER UPDATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION users_announce();

COMMENT ON FUNCTION notification_channel(text) IS
    'The channel on which changes of the tables in this schema are notified.';
COMMENT ON FUNCTION announce_change(text, text) IS
    'Notifies the servers of a change in this schema. While the notification queue is full, counts it instead.';
COMMENT ON FUNCTION sessions_note_change() IS
    'Collects the sessions that the statement changed, for sessions_announce().';
COMMENT ON FUNCTION users_note_change() IS
    'Collects the users that the statement changed, for users_announce().';
