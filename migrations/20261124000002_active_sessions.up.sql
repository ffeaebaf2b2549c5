SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Runs with the rights of its owner, so that a role which may see nothing else can see this.
CREATE VIEW active_sessions AS
SELECT s.id,
       s.user_id,
       u.email,
       u.display_name,
       u.role,
       s.created_at AS signed_in_at,
       s.authenticated_at,
       s.last_seen_at,
       s.expires_at,
       s.absolute_expires_at,
       s.remembered,
       s.auth_methods,
       s.ip_address,
       s.user_agent
  FROM sessions s
  JOIN users u ON u.id = s.user_id
 WHERE s.expires_at > now()
   AND u.disabled_at IS NULL;

COMMENT ON VIEW active_sessions IS
    'Who is signed in, from where, since when and until when; nothing in it is a credential.';
COMMENT ON COLUMN active_sessions.id IS 'sessions.id; DELETE FROM sessions WHERE id = … ends it.';
COMMENT ON COLUMN active_sessions.user_id IS 'users.id';
COMMENT ON COLUMN active_sessions.email IS 'Their address as typed.';
COMMENT ON COLUMN active_sessions.display_name IS 'What pages call them.';
COMMENT ON COLUMN active_sessions.role IS 'user or admin.';
COMMENT ON COLUMN active_sessions.signed_in_at IS 'When the session began.';
COMMENT ON COLUMN active_sessions.authenticated_at IS 'When they last proved who they are in this session.';
COMMENT ON COLUMN active_sessions.last_seen_at IS 'Last recorded activity, up to a minute behind.';
COMMENT ON COLUMN active_sessions.expires_at IS 'When it ends if nothing happens.';
COMMENT ON COLUMN active_sessions.absolute_expires_at IS 'When it ends whatever happens.';
COMMENT ON COLUMN active_sessions.remembered IS 'The cookie outlives the browser.';
COMMENT ON COLUMN active_sessions.auth_methods IS 'How they proved it (RFC 8176).';
COMMENT ON COLUMN active_sessions.ip_address IS 'The address of the sign-in.';
COMMENT ON COLUMN active_sessions.user_agent IS 'The browser of the sign-in.';
COMMENT ON SEQUENCE audit_events_id_seq IS 'Numbers the events of the trail.';
