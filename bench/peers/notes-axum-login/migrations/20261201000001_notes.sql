CREATE TABLE users (
    id            bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT users_pkey PRIMARY KEY,
    email         text NOT NULL CONSTRAINT users_email_key UNIQUE,
    display_name  text NOT NULL,
    password_hash text NOT NULL
);

CREATE TABLE notes (
    id       bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT notes_pkey PRIMARY KEY,
    owner_id bigint NOT NULL CONSTRAINT notes_owner_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    body     text NOT NULL CONSTRAINT notes_body_length CHECK (char_length(body) BETWEEN 1 AND 2000)
);

CREATE INDEX notes_owner_id_idx ON notes (owner_id, id DESC);
