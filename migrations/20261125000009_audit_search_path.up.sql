SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- What runs with the rights of the owner must find the tables of the owner: where a search path does not name it,
-- PostgreSQL looks into the temporary schema of whoever calls first, and a temporary table "users" without a row would
-- make everybody somebody whose account is gone.
DO
$$
DECLARE
    function regprocedure;
    own      text := (SELECT n.nspname
                        FROM pg_class c
                        JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE c.oid = 'audit_events'::regclass);
BEGIN
    FOREACH function IN ARRAY ARRAY['audit_events_forget(interval, integer)', 'audit_events_anonymize(uuid)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', function, own);
    END LOOP;
END
$$;
