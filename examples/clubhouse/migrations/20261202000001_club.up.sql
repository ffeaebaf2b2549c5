CREATE TABLE club_events (
    id        bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT club_events_pkey PRIMARY KEY,
    title     text NOT NULL CONSTRAINT club_events_title_length CHECK (char_length(title) BETWEEN 1 AND 120),
    place     text NOT NULL CONSTRAINT club_events_place_length CHECK (char_length(place) BETWEEN 1 AND 120),
    starts_at timestamptz NOT NULL,
    capacity  integer NOT NULL CONSTRAINT club_events_capacity CHECK (capacity BETWEEN 1 AND 1000)
);
CREATE INDEX club_events_starts_at_idx ON club_events (starts_at);

CREATE TABLE guests (
    event_id     bigint NOT NULL CONSTRAINT guests_event_id_fkey REFERENCES club_events (id) ON DELETE CASCADE,
    user_id      uuid NOT NULL CONSTRAINT guests_user_id_fkey REFERENCES frontdesk.users (id) ON DELETE CASCADE,
    signed_up_at timestamptz NOT NULL DEFAULT now(),
    reminded_at  timestamptz,
    CONSTRAINT guests_pkey PRIMARY KEY (event_id, user_id)
);
CREATE INDEX guests_user_id_idx ON guests (user_id);

CREATE TABLE pictures (
    user_id      uuid CONSTRAINT pictures_pkey PRIMARY KEY
        CONSTRAINT pictures_user_id_fkey REFERENCES frontdesk.users (id) ON DELETE CASCADE,
    content_type text NOT NULL
        CONSTRAINT pictures_content_type CHECK (content_type IN ('image/jpeg', 'image/png', 'image/webp')),
    content      bytea NOT NULL CONSTRAINT pictures_size CHECK (octet_length(content) <= 2097152)
);

-- The guest lists that are open in browsers, on every server, read the guests again.
CREATE FUNCTION announce_guests() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_notify('clubhouse_guests', coalesce(NEW.event_id, OLD.event_id)::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER guests_announce AFTER INSERT OR DELETE ON guests
    FOR EACH ROW EXECUTE FUNCTION announce_guests();
