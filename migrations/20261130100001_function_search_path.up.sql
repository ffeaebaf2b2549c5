SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- A website's connections find its own tables and functions first. Without a search path of its own, a function that
-- one of its statements calls, also by a trigger, would find them too.
DO
$$
DECLARE
    function regprocedure;
    own      text := (SELECT n.nspname
                        FROM pg_class c
                        JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE c.oid = 'audit_events'::regclass);
BEGIN
    FOREACH function IN ARRAY ARRAY['announce_change(text, text)', 'notification_channel(text)',
                                    'session_caches_keep_lease()', 'sessions_announce()', 'sessions_note_change()',
                                    'truncation_announce()', 'users_announce()', 'users_note_change()'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', function, own);
    END LOOP;
END
$$;
