SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

ALTER FUNCTION announce_change(text, text) RESET search_path;
ALTER FUNCTION notification_channel(text) RESET search_path;
ALTER FUNCTION session_caches_keep_lease() RESET search_path;
ALTER FUNCTION sessions_announce() RESET search_path;
ALTER FUNCTION sessions_note_change() RESET search_path;
ALTER FUNCTION truncation_announce() RESET search_path;
ALTER FUNCTION users_announce() RESET search_path;
ALTER FUNCTION users_note_change() RESET search_path;
