-- Roles of least privilege, for the first schema of the search path. Run by the owner of the tables (which
-- runs the migrations) or a superuser, after each migration. Running it again changes nothing.
--
--   frontdesk_app     for the server: reads and writes rows, no DDL; only SELECT and INSERT on the audit log
--   frontdesk_reader  for read-only access by operators: no digests, no session state, no password hashes
--
-- Neither role can log in. Grant it to one that can:
--
--   CREATE ROLE desk LOGIN PASSWORD '…' IN ROLE frontdesk_app;
DO
$$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['frontdesk_app', 'frontdesk_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), name);
    END LOOP;
END
$$;

REVOKE ALL ON servers, users, sessions, session_caches, session_cache_resets, registrations, email_tokens, recovery_requests, mail_outbox, throttles,
              audit_events, active_sessions, _sqlx_migrations
  FROM frontdesk_app, frontdesk_reader;
GRANT SELECT, INSERT, UPDATE, DELETE
   ON servers, users, sessions, session_caches, registrations, email_tokens, recovery_requests, mail_outbox, throttles
   TO frontdesk_app;
GRANT SELECT, INSERT, UPDATE ON session_cache_resets TO frontdesk_app;
GRANT SELECT, INSERT ON audit_events TO frontdesk_app;
GRANT SELECT ON active_sessions, _sqlx_migrations TO frontdesk_app;
GRANT SELECT, USAGE ON SEQUENCE session_asks TO frontdesk_app;
GRANT EXECUTE ON FUNCTION audit_events_forget(interval, integer), audit_events_anonymize(uuid) TO frontdesk_app;

GRANT SELECT ON active_sessions, audit_events, servers, session_caches, session_cache_resets, throttles, _sqlx_migrations TO frontdesk_reader;
GRANT SELECT (id, kind, user_id, recipient, sealed_with, state, attempts, created_at, next_attempt_at, finished_at, last_error)
   ON mail_outbox TO frontdesk_reader;
GRANT SELECT (id, email, email_canonical, display_name, role, password_changed_at, created_at, disabled_at,
              email_verified_at, deletion_due_at)
   ON users TO frontdesk_reader;
GRANT SELECT (id, user_id, created_at, authenticated_at, last_seen_at, expires_at, absolute_expires_at,
              idle_timeout, remembered, auth_methods, ip_address, user_agent, format_version, purge_after)
   ON sessions TO frontdesk_reader;
