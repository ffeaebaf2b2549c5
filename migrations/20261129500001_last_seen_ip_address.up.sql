SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Without an index, and in no trigger: it is written with last_seen_at, so that these updates stay HOT and notify
-- nothing.
ALTER TABLE sessions ADD COLUMN last_seen_ip_address inet;

CREATE OR REPLACE VIEW active_sessions AS
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
       s.user_agent,
       s.last_seen_ip_address
  FROM sessions s
  JOIN users u ON u.id = s.user_id
 WHERE s.expires_at > now()
   AND u.disabled_at IS NULL;

COMMENT ON COLUMN sessions.last_seen_ip_address IS
    'IP address of the last recorded activity, at first that of the sign-in. Null: not known.';
COMMENT ON COLUMN active_sessions.last_seen_ip_address IS
    'IP address of the last recorded activity; null: not known.';
