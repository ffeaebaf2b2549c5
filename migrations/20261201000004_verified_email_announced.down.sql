SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE OR REPLACE FUNCTION users_note_change() RETURNS trigger
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

-- As in 20261130100001_function_search_path: a replaced function loses its search path.
DO
$$
DECLARE
    own text := (SELECT n.nspname
                   FROM pg_class c
                   JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.oid = 'users'::regclass);
BEGIN
    EXECUTE format('ALTER FUNCTION users_note_change() SET search_path = %I, pg_temp', own);
END
$$;
