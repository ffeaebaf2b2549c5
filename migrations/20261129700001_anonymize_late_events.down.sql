SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

DROP FUNCTION audit_events_anonymize_without_user(integer);
DROP FUNCTION audit_events_anonymize_late();

CREATE OR REPLACE FUNCTION audit_events_anonymize(person uuid) RETURNS bigint
LANGUAGE sql SECURITY DEFINER AS
$$
    WITH changed AS (
         UPDATE audit_events
            SET ip_address = NULL,
                user_agent = NULL,
                session_id = NULL,
                request_id = NULL
          WHERE user_id = person
            AND NOT EXISTS (SELECT FROM users WHERE id = person)
         RETURNING 1)
    SELECT count(*) FROM changed;
$$;

DO
$$
DECLARE
    own text := (SELECT n.nspname
                   FROM pg_class c
                   JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.oid = 'audit_events'::regclass);
BEGIN
    EXECUTE format('ALTER FUNCTION audit_events_anonymize(uuid) SET search_path = %I, pg_temp', own);
END
$$;

COMMENT ON FUNCTION audit_events_anonymize(uuid) IS
    'Removes IP address, browser, session and request id from the events of a deleted account.';
