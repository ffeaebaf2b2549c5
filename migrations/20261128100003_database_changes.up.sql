SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Records the changes of sessions and accounts that Frontdesk did not make, for example those made in psql:
-- actor database, the role that logged in as details.database_role. Frontdesk sets frontdesk.actor in each of its
-- transactions and records its own changes; the WHEN clause of the triggers then skips them, before a function is
-- called. The previous version does not set it: while it runs beside this one, its changes are recorded twice, and a
-- sign-out by it has a second event with the actor database.
--
-- SECURITY DEFINER: the roles that may change users or sessions need no privilege on audit_events. The functions are
-- not executable by PUBLIC, because a trigger on a table of another role could otherwise write events with them.

-- One event per statement and user. The cause is read from the account: DELETE FROM users ends the sessions of the
-- user by cascade, and setting disabled_at ends them by users_changed_in_database.
CREATE FUNCTION audit_deleted_sessions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS
$$
BEGIN
    INSERT INTO audit_events (event, user_id, session_id, actor, details)
    SELECT 'session_ended',
           ended.user_id,
           ended.session_id,
           'database',
           jsonb_build_object(
               'cause', CASE WHEN u.id IS NULL THEN 'deleted'
                             WHEN u.disabled_at IS NOT NULL THEN 'disabled'
                             WHEN ended.last_expiry <= now() THEN 'expired'
                             ELSE 'revoked' END,
               'count', ended.count,
               'database_role', session_user)
      FROM (SELECT o.user_id,
                   CASE WHEN count(*) = 1 THEN min(o.id::text)::uuid END AS session_id,
                   count(*) AS count,
                   max(o.expires_at) AS last_expiry
              FROM old_rows o
             WHERE o.user_id IS NOT NULL
             GROUP BY o.user_id) AS ended
      LEFT JOIN users u ON u.id = ended.user_id;
    RETURN NULL;
END
$$;

CREATE FUNCTION audit_truncated_table() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS
$$
BEGIN
    INSERT INTO audit_events (event, actor, details)
    VALUES (CASE TG_TABLE_NAME WHEN 'users' THEN 'account_deleted' ELSE 'all_sessions_ended' END,
            'database',
            jsonb_build_object('truncated', TG_TABLE_NAME, 'database_role', session_user));
    RETURN NULL;
END
$$;

-- One event per changed property of an account. Disabling also deletes the sessions, so that enabling the account
-- later does not bring them back; enabling does so too, for accounts that were disabled before this migration.
CREATE FUNCTION audit_changed_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS
$$
DECLARE
    -- Through jsonb, because a session keeps the types of the columns with which it has executed the function before.
    before  jsonb := to_jsonb(OLD);
    after   jsonb := COALESCE(to_jsonb(NEW), '{}');
    account uuid := before ->> 'id';
BEGIN
    INSERT INTO audit_events (event, user_id, actor, details)
    SELECT change.event, account, 'database', change.details || jsonb_build_object('database_role', session_user)
      FROM (VALUES
           ('account_deleted', TG_OP = 'DELETE', '{}'::jsonb),
           ('account_disabled', TG_OP = 'UPDATE' AND before ->> 'disabled_at' IS NULL AND after ->> 'disabled_at' IS NOT NULL, '{}'),
           ('account_enabled', TG_OP = 'UPDATE' AND before ->> 'disabled_at' IS NOT NULL AND after ->> 'disabled_at' IS NULL, '{}'),
           ('role_changed', before -> 'role' <> after -> 'role', jsonb_build_object('role', after -> 'role')),
           ('email_changed', (before -> 'email', before -> 'email_canonical') <> (after -> 'email', after -> 'email_canonical'), '{}'),
           ('password_changed', before -> 'password_hash' <> after -> 'password_hash' AND after ->> 'password_hash' IS NOT NULL, '{}'),
           ('password_invalidated', TG_OP = 'UPDATE' AND before ->> 'password_hash' IS NOT NULL AND after ->> 'password_hash' IS NULL, '{}'))
           AS change (event, happened, details)
     WHERE change.happened;
    IF TG_OP = 'UPDATE' AND COALESCE(before ->> 'disabled_at', after ->> 'disabled_at') IS NOT NULL THEN
        DELETE FROM sessions WHERE user_id = account;
    END IF;
    RETURN NULL;
END
$$;

-- A function that runs with the rights of the owner must find the tables of the owner.
DO
$$
DECLARE
    function regprocedure;
    own      text := (SELECT n.nspname
                        FROM pg_class c
                        JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE c.oid = 'audit_events'::regclass);
BEGIN
    FOREACH function IN ARRAY ARRAY['audit_deleted_sessions()', 'audit_truncated_table()', 'audit_changed_user()'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', function, own);
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION audit_deleted_sessions() FROM PUBLIC;
REVOKE ALL ON FUNCTION audit_truncated_table() FROM PUBLIC;
REVOKE ALL ON FUNCTION audit_changed_user() FROM PUBLIC;

CREATE TRIGGER sessions_deleted_in_database AFTER DELETE ON sessions
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT
    WHEN (current_setting('frontdesk.actor', true) IS DISTINCT FROM 'frontdesk')
    EXECUTE FUNCTION audit_deleted_sessions();
CREATE TRIGGER sessions_truncated_in_database AFTER TRUNCATE ON sessions
    FOR EACH STATEMENT
    WHEN (current_setting('frontdesk.actor', true) IS DISTINCT FROM 'frontdesk')
    EXECUTE FUNCTION audit_truncated_table();
-- It names no column, because PostgreSQL refuses to change the type of a column that a trigger names.
CREATE TRIGGER users_changed_in_database AFTER UPDATE ON users
    FOR EACH ROW
    WHEN (current_setting('frontdesk.actor', true) IS DISTINCT FROM 'frontdesk')
    EXECUTE FUNCTION audit_changed_user();
CREATE TRIGGER users_deleted_in_database AFTER DELETE ON users
    FOR EACH ROW
    WHEN (current_setting('frontdesk.actor', true) IS DISTINCT FROM 'frontdesk')
    EXECUTE FUNCTION audit_changed_user();
CREATE TRIGGER users_truncated_in_database AFTER TRUNCATE ON users
    FOR EACH STATEMENT
    WHEN (current_setting('frontdesk.actor', true) IS DISTINCT FROM 'frontdesk')
    EXECUTE FUNCTION audit_truncated_table();

COMMENT ON FUNCTION audit_deleted_sessions() IS
    'Records sessions that another client of the database deleted: one audit event per statement and user.';
COMMENT ON FUNCTION audit_truncated_table() IS
    'Records that another client of the database truncated users or sessions.';
COMMENT ON FUNCTION audit_changed_user() IS
    'Records accounts that another client of the database disabled, enabled, changed or deleted. Deletes the sessions of disabled accounts.';
