SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE OR REPLACE FUNCTION audit_deleted_sessions() RETURNS trigger
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

DO
$$
DECLARE
    own text := (SELECT n.nspname
                   FROM pg_class c
                   JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.oid = 'audit_events'::regclass);
BEGIN
    EXECUTE format('ALTER FUNCTION audit_deleted_sessions() SET search_path = %I, pg_temp', own);
END
$$;

COMMENT ON FUNCTION audit_deleted_sessions() IS
    'Records sessions that another client of the database deleted: one audit event per statement and user.';
