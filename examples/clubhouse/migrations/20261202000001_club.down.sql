DROP TABLE guests, pictures, club_events;
DROP FUNCTION announce_guests();
