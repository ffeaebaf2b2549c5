SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE installation (
    singleton       boolean     NOT NULL DEFAULT true,
    site_name       text        NOT NULL,
    program         text        NOT NULL,
    hook_names      text[]      NOT NULL DEFAULT '{}',
    crate_version   text        NOT NULL,
    last_started_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT installation_pkey PRIMARY KEY (singleton),
    CONSTRAINT installation_singleton CHECK (singleton)
);

COMMENT ON TABLE installation IS
    'One row: the program that serves this database, as the last server wrote it at its start. A program without its hooks refuses to serve and to change users: it would skip them.';
COMMENT ON COLUMN installation.singleton IS 'Always true, so that there is one row.';
COMMENT ON COLUMN installation.site_name IS 'FRONTDESK_SITE_NAME.';
COMMENT ON COLUMN installation.program IS 'The file name of the program.';
COMMENT ON COLUMN installation.hook_names IS
    'The events for which the site has a hook. To remove a hook, empty this column and start the new program.';
COMMENT ON COLUMN installation.crate_version IS 'The version of Frontdesk in the program.';
COMMENT ON COLUMN installation.last_started_at IS 'When a server was last started.';
COMMENT ON INDEX installation_pkey IS 'One row.';
