SET LOCAL lock_timeout = '3s';

DROP VIEW active_sessions;
ALTER TABLE sessions DROP COLUMN last_seen_ip_address;

-- As before; the comments and the grants of the view go with it.
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
    'Who is signed in, from where, since when and until when; contains no credentials.';
COMMENT ON COLUMN active_sessions.id IS 'sessions.id; DELETE FROM sessions WHERE id = … signs it out.';
COMMENT ON COLUMN active_sessions.user_id IS 'users.id';
COMMENT ON COLUMN active_sessions.email IS 'Email address as the user typed it.';
COMMENT ON COLUMN active_sessions.display_name IS 'Name shown on pages and in mail.';
COMMENT ON COLUMN active_sessions.role IS 'user or admin.';
COMMENT ON COLUMN active_sessions.signed_in_at IS 'When the session was created.';
COMMENT ON COLUMN active_sessions.authenticated_at IS 'When the user last authenticated in this session.';
COMMENT ON COLUMN active_sessions.last_seen_at IS 'Last recorded activity, up to a minute behind.';
COMMENT ON COLUMN active_sessions.expires_at IS 'When the session expires without further activity.';
COMMENT ON COLUMN active_sessions.absolute_expires_at IS 'When the session expires regardless of activity.';
COMMENT ON COLUMN active_sessions.remembered IS 'The cookie is kept when the browser closes.';
COMMENT ON COLUMN active_sessions.auth_methods IS 'Authentication methods (RFC 8176).';
COMMENT ON COLUMN active_sessions.ip_address IS 'IP address at sign-in.';
COMMENT ON COLUMN active_sessions.user_agent IS 'User-Agent header at sign-in.';
