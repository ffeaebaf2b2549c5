SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- A server writes trusted_until for 15 seconds and renews it after 10. The previous version shortens every value that is
-- more than 3 seconds ahead, which it takes for an error. Here such an update leaves 15 seconds.
CREATE FUNCTION session_caches_keep_lease() RETURNS trigger
LANGUAGE plpgsql AS
$$
BEGIN
    NEW.trusted_until := GREATEST(NEW.trusted_until,
                                  LEAST(OLD.trusted_until, clock_timestamp() + interval '15 seconds'));
    RETURN NEW;
END
$$;

CREATE TRIGGER session_caches_lease_kept BEFORE UPDATE OF trusted_until ON session_caches
    FOR EACH ROW WHEN (NEW.trusted_until < OLD.trusted_until) EXECUTE FUNCTION session_caches_keep_lease();

COMMENT ON FUNCTION session_caches_keep_lease() IS
    'Keeps other servers from shortening the time for which a server may answer from its cache.';
COMMENT ON COLUMN session_caches.trusted_until IS
    'Until then at most, the server answers from its cache. Renewed every ten seconds. In the past: it queries this database.';
