CREATE TABLE notes (
    id       bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT notes_pkey PRIMARY KEY,
    owner_id uuid NOT NULL CONSTRAINT notes_owner_id_fkey REFERENCES frontdesk.users (id) ON DELETE CASCADE,
    body     text NOT NULL CONSTRAINT notes_body_length CHECK (char_length(body) BETWEEN 1 AND 2000)
);

CREATE INDEX notes_owner_id_idx ON notes (owner_id, id DESC);
