CREATE TABLE ticks (
    at timestamptz NOT NULL DEFAULT now()
);

-- Named like a table of Frontdesk: its statements must not find this one.
CREATE TABLE sessions (
    id integer NOT NULL CONSTRAINT sessions_pkey PRIMARY KEY
);
