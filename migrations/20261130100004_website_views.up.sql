SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- With active_sessions, what the statements of a website may read. Their names and columns stay.
CREATE VIEW user_profiles AS
SELECT id,
       email,
       email_verified_at,
       display_name,
       role,
       language,
       created_at,
       disabled_at
  FROM users;

CREATE VIEW audit_log AS
SELECT id,
       occurred_at,
       event,
       user_id,
       session_id,
       actor,
       ip_address,
       user_agent,
       request_id,
       details
  FROM audit_events;

COMMENT ON VIEW user_profiles IS
    'The users, for a website: what may be shown; no passwords. A foreign key refers to users (id).';
COMMENT ON COLUMN user_profiles.id IS 'users.id; it never changes and is never used again.';
COMMENT ON COLUMN user_profiles.email IS 'Email as the user typed it.';
COMMENT ON COLUMN user_profiles.email_verified_at IS 'When it was last verified that the user reads this email; null: never.';
COMMENT ON COLUMN user_profiles.display_name IS 'Name shown on pages and in mail.';
COMMENT ON COLUMN user_profiles.role IS 'user or admin.';
COMMENT ON COLUMN user_profiles.language IS 'The language of pages and mails for the user, as a BCP 47 tag.';
COMMENT ON COLUMN user_profiles.created_at IS 'When the account was created.';
COMMENT ON COLUMN user_profiles.disabled_at IS 'Since when the user cannot sign in; null: can.';

COMMENT ON VIEW audit_log IS
    'The audit log, for a website: what happened to the accounts, by whom and from where. See audit_events.';
COMMENT ON COLUMN audit_log.id IS 'audit_events.id, in the order of the events.';
COMMENT ON COLUMN audit_log.occurred_at IS 'When the transaction of the event began.';
COMMENT ON COLUMN audit_log.event IS 'What happened, for example signed_in.';
COMMENT ON COLUMN audit_log.user_id IS 'users.id; stays when the account is deleted. Null: no account.';
COMMENT ON COLUMN audit_log.session_id IS 'sessions.id; null: outside of a session, or the account is deleted.';
COMMENT ON COLUMN audit_log.actor IS 'user, operator, system (a background job) or database (another client of the database).';
COMMENT ON COLUMN audit_log.ip_address IS 'IP address of the request; null: none, or it was removed.';
COMMENT ON COLUMN audit_log.user_agent IS 'User-Agent header of the request; null: none, or it was removed.';
COMMENT ON COLUMN audit_log.request_id IS 'The request, as in the log and in the header X-Request-Id; null: none, or it was removed.';
COMMENT ON COLUMN audit_log.details IS 'What the event has beside, by its name.';
