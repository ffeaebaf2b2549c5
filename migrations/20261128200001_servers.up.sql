SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE servers (
    id            uuid        NOT NULL,
    version       text        NOT NULL,
    host          text        NOT NULL,
    -- A process id fits: PostgreSQL's own are integers too.
    -- squawk-ignore prefer-bigint-over-int
    process_id    integer     NOT NULL,
    public_url    text        NOT NULL,
    key_ids       text[]      NOT NULL,
    session_cache text        NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT servers_pkey PRIMARY KEY (id),
    CONSTRAINT servers_key_ids_form CHECK (array_to_string(key_ids, ',') ~ '^[0-9a-f]{16}(,[0-9a-f]{16})*$')
)
WITH (fillfactor = 50);

COMMENT ON TABLE servers IS
    'The servers that run on this schema, one row each, written at start and every ten seconds, deleted at a clean stop.';
COMMENT ON COLUMN servers.id IS
    'The server process; the same as in session_caches. A new one at each start.';
COMMENT ON COLUMN servers.version IS
    'The version of Frontdesk.';
COMMENT ON COLUMN servers.host IS
    'The host name of the machine.';
COMMENT ON COLUMN servers.process_id IS
    'The process on that machine.';
COMMENT ON COLUMN servers.public_url IS
    'FRONTDESK_PUBLIC_URL of this server. All servers of a schema should have the same.';
COMMENT ON COLUMN servers.key_ids IS
    'Identifiers of its FRONTDESK_SECRET_KEYS, in order. The first one encrypts. An identifier does not reveal its key.';
COMMENT ON COLUMN servers.session_cache IS
    'Its session cache at last_seen_at: off, disconnected, doubtful or trusted.';
COMMENT ON COLUMN servers.started_at IS
    'When the server was started.';
COMMENT ON COLUMN servers.last_seen_at IS
    'When this row was last written. A server that was not seen for 30 seconds counts as stopped.';
COMMENT ON INDEX servers_pkey IS 'One row for each server.';
