SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- The application role may add to the trail and read it, nothing else. What has to go goes by these two, which run
-- with the rights of the owner and can do no more than they say.
CREATE FUNCTION audit_events_forget(older_than interval, at_most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS
$$
    WITH gone AS (
         DELETE FROM audit_events
          WHERE id IN (
                SELECT id
                  FROM audit_events
                 WHERE occurred_at < now() - GREATEST(older_than, interval '7 days')
                 ORDER BY occurred_at
                 LIMIT LEAST(at_most, 10000)
                   FOR UPDATE SKIP LOCKED)
         RETURNING 1)
    SELECT count(*) FROM gone;
$$;

CREATE FUNCTION audit_events_anonymize(person uuid) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS
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

REVOKE ALL ON FUNCTION audit_events_forget(interval, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION audit_events_anonymize(uuid) FROM PUBLIC;

COMMENT ON FUNCTION audit_events_forget(interval, integer) IS
    'Deletes events older than that, never younger than a week, at most so many; for the retention.';
COMMENT ON FUNCTION audit_events_anonymize(uuid) IS
    'Takes address, browser and session from the events of a person whose account is gone.';
