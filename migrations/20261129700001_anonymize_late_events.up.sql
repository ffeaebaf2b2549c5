SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Also removes IP address and browser of the events that have no user and came from the same browser and IP address
-- as an event of this user in the last days: a sign-in with a mistyped email has no other link to the person.
CREATE OR REPLACE FUNCTION audit_events_anonymize(person uuid) RETURNS bigint
LANGUAGE sql SECURITY DEFINER AS
$$
    WITH origins AS MATERIALIZED (
         SELECT DISTINCT ip_address, user_agent
           FROM audit_events
          WHERE user_id = person
            AND ip_address IS NOT NULL
            AND NOT EXISTS (SELECT FROM users WHERE id = person)),
         changed AS (
         UPDATE audit_events
            SET ip_address = NULL,
                user_agent = NULL,
                session_id = NULL,
                request_id = NULL
          WHERE user_id = person
            AND num_nonnulls(ip_address, user_agent, session_id, request_id) > 0
            AND NOT EXISTS (SELECT FROM users WHERE id = person)
         RETURNING 1),
         without_user AS (
         UPDATE audit_events e
            SET ip_address = NULL,
                user_agent = NULL,
                request_id = NULL
           FROM origins o
          WHERE e.user_id IS NULL
            AND e.ip_address = o.ip_address
            AND e.user_agent IS NOT DISTINCT FROM o.user_agent
            AND e.occurred_at > now() - interval '15 days'
         RETURNING 1)
    SELECT (SELECT count(*) FROM changed) + (SELECT count(*) FROM without_user);
$$;

-- A request that was in progress during the deletion can record an event afterwards. A transaction takes an hour at
-- most. An account that another client of the database deleted has not been anonymized at all.
CREATE FUNCTION audit_events_anonymize_late() RETURNS bigint
LANGUAGE sql SECURITY DEFINER AS
$$
    WITH deleted AS MATERIALIZED (
         SELECT user_id,
                min(CASE actor WHEN 'database' THEN '-infinity' ELSE occurred_at - interval '2 hours' END) AS since
           FROM audit_events
          WHERE event = 'account_deleted'
            AND occurred_at > now() - interval '7 days'
            AND user_id IS NOT NULL
          GROUP BY user_id),
         changed AS (
         UPDATE audit_events e
            SET ip_address = NULL,
                user_agent = NULL,
                session_id = NULL,
                request_id = NULL
           FROM deleted d
          WHERE e.user_id = d.user_id
            AND e.occurred_at >= d.since
            AND num_nonnulls(e.ip_address, e.user_agent, e.session_id, e.request_id) > 0
            AND NOT EXISTS (SELECT FROM users u WHERE u.id = d.user_id)
         RETURNING 1)
    SELECT count(*) FROM changed;
$$;

CREATE FUNCTION audit_events_anonymize_without_user(at_most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER AS
$$
    WITH changed AS (
         UPDATE audit_events
            SET ip_address = NULL,
                user_agent = NULL,
                request_id = NULL
          WHERE id IN (
                SELECT id
                  FROM audit_events
                 WHERE user_id IS NULL
                   AND ip_address IS NOT NULL
                   AND occurred_at < now() - interval '7 days'
                 ORDER BY occurred_at
                 LIMIT LEAST(at_most, 10000)
                   FOR UPDATE SKIP LOCKED)
         RETURNING 1)
    SELECT count(*) FROM changed;
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
    FOREACH function IN ARRAY ARRAY['audit_events_anonymize(uuid)', 'audit_events_anonymize_late()',
                                    'audit_events_anonymize_without_user(integer)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', function, own);
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION audit_events_anonymize_late() FROM PUBLIC;
REVOKE ALL ON FUNCTION audit_events_anonymize_without_user(integer) FROM PUBLIC;

COMMENT ON FUNCTION audit_events_anonymize(uuid) IS
    'Removes IP address, browser, session and request from the events of a user whose account is deleted, and from events without a user that came from the same browser and IP address in the last 15 days. Returns how many.';
COMMENT ON FUNCTION audit_events_anonymize_late() IS
    'Anonymizes the events of accounts deleted in the last 7 days that were recorded during or after the deletion, and all events of accounts that another client of the database deleted. Returns how many.';
COMMENT ON FUNCTION audit_events_anonymize_without_user(integer) IS
    'Removes IP address, browser and request from up to so many events without a user that are older than 7 days. Returns how many.';
