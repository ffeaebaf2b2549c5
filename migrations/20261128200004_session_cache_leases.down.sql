SET LOCAL lock_timeout = '3s';

DROP TRIGGER session_caches_lease_kept ON session_caches;
DROP FUNCTION session_caches_keep_lease();
COMMENT ON COLUMN session_caches.trusted_until IS
    'Lease: the server answers from its cache at most until then; renewed every second. In the past: it queries the database.';
