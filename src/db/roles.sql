-- Roles of least privilege, for the first schema of the search path. Run by the owner of the tables (which
-- runs the migrations) or a superuser, after each migration. Running it again changes nothing.
--
--   frontdesk_app     for the server: reads and writes rows, no DDL; only SELECT and INSERT on the audit log
--   frontdesk_reader  for read-only access by operators: no digests of sessions or links, no session state,
--                    no password hashes
--   frontdesk_website  for the statements of a website, if they have a login of their own: the views user_profiles,
--                    active_sessions, audit_log and user_groups, foreign keys to users, and everything in the site's schema
--
-- The site's schema is the one in the setting frontdesk.site_schema; without it there is none:
--
--   SET frontdesk.site_schema = 'public';
--
-- In another schema than public, the name of the schema follows: frontdesk_app_staff. So the roles of two sites
-- in one database are separate. A name longer than 63 bytes ends with the MD5 of the schema's name instead.
--
-- None of the roles can log in. Grant it to one that can:
--
--   CREATE ROLE desk LOGIN PASSWORD '…' IN ROLE frontdesk_app;
DO
$$
DECLARE
    suffix text := CASE current_schema() WHEN 'public' THEN '' ELSE '_' || current_schema() END;
    app text;
    reader text;
    website text;
    site regnamespace := to_regnamespace(quote_ident(nullif(current_setting('frontdesk.site_schema', true), '')));
    name text;
    statement text;
BEGIN
    IF octet_length('frontdesk_reader' || suffix) > 63 THEN
        suffix := '_' || md5(current_schema());
    END IF;
    app := 'frontdesk_app' || suffix;
    reader := 'frontdesk_reader' || suffix;
    -- Its name is longer by one byte.
    website := 'frontdesk_website' || CASE WHEN octet_length('frontdesk_website' || suffix) > 63
                                           THEN '_' || md5(current_schema()) ELSE suffix END;

    FOREACH name IN ARRAY ARRAY[app, reader, website] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), name);
    END LOOP;

    -- %1$I is the application role, %2$I the reader, %3$I the website.
    FOREACH statement IN ARRAY ARRAY[
        'REVOKE ALL ON servers, installation, users, sessions, session_caches, session_cache_resets, registrations, email_tokens,
                       invitations, recovery_requests, queue_failures, mail_outbox, mail_limits, suppressed_recipients,
                       throttles, form_answers, event_deliveries, ended_sessions, audit_events, active_sessions,
                       user_profiles, audit_log, groups, group_members, user_groups, breaking_migrations, _sqlx_migrations
           FROM %1$I, %2$I, %3$I',

        'GRANT SELECT, INSERT, UPDATE, DELETE
            ON servers, users, sessions, session_caches, registrations, email_tokens, invitations, recovery_requests,
               queue_failures, mail_outbox, mail_limits, suppressed_recipients, throttles, form_answers,
               event_deliveries, ended_sessions, groups, group_members
            TO %1$I',
        'GRANT SELECT, INSERT, UPDATE ON session_cache_resets, installation TO %1$I',
        'GRANT SELECT, INSERT ON audit_events TO %1$I',
        'GRANT SELECT ON active_sessions, user_profiles, audit_log, user_groups, breaking_migrations, _sqlx_migrations TO %1$I',
        'GRANT SELECT, USAGE ON SEQUENCE session_asks TO %1$I',
        'GRANT EXECUTE ON FUNCTION audit_events_forget(interval, integer), audit_events_anonymize(uuid),
            audit_events_anonymize_late(), audit_events_anonymize_without_user(integer),
            notification_channel(text), announce_change(text, text) TO %1$I',

        'GRANT SELECT
            ON active_sessions, user_profiles, audit_log, user_groups, groups, group_members, audit_events, servers, installation, session_caches, session_cache_resets, queue_failures,
               mail_limits, suppressed_recipients, throttles, breaking_migrations, _sqlx_migrations
            TO %2$I',
        'GRANT SELECT (id, kind, user_id, recipient, recipient_canonical, sealed_with, state, attempts, created_at,
                       next_attempt_at, finished_at, last_error, not_after, combined, language)
            ON mail_outbox TO %2$I',
        'GRANT SELECT (id, event, hook, user_id, sealed_with, state, attempts, created_at, next_attempt_at, retry_until,
                       finished_at, last_error)
            ON event_deliveries TO %2$I',
        'GRANT SELECT (id, email, email_canonical, display_name, role, password_changed_at, created_at, disabled_at,
                       email_verified_at, deletion_due_at, language)
            ON users TO %2$I',
        'GRANT SELECT (id, email, email_canonical, display_name, role, created_at, expires_at) ON invitations TO %2$I',
        'GRANT SELECT (id, user_id, created_at, authenticated_at, last_seen_at, expires_at, absolute_expires_at,
                       idle_timeout, remembered, auth_methods, ip_address, last_seen_ip_address, user_agent, format_version,
                       purge_after)
            ON sessions TO %2$I',

        'GRANT SELECT ON user_profiles, active_sessions, audit_log, user_groups TO %3$I',
        'GRANT REFERENCES (id) ON users TO %3$I'
    ] LOOP
        EXECUTE format(statement, app, reader, website);
    END LOOP;

    -- Also what the owner creates there later.
    IF site::text <> quote_ident(current_schema()) THEN
        FOREACH statement IN ARRAY ARRAY[
            'GRANT ALL ON SCHEMA %1$s TO %2$I',
            'GRANT ALL ON ALL TABLES IN SCHEMA %1$s TO %2$I',
            'GRANT ALL ON ALL SEQUENCES IN SCHEMA %1$s TO %2$I',
            'GRANT ALL ON ALL ROUTINES IN SCHEMA %1$s TO %2$I',
            'ALTER DEFAULT PRIVILEGES IN SCHEMA %1$s GRANT ALL ON TABLES TO %2$I',
            'ALTER DEFAULT PRIVILEGES IN SCHEMA %1$s GRANT ALL ON SEQUENCES TO %2$I',
            'ALTER DEFAULT PRIVILEGES IN SCHEMA %1$s GRANT ALL ON ROUTINES TO %2$I'
        ] LOOP
            EXECUTE format(statement, site, website);
        END LOOP;
    END IF;
END
$$;
