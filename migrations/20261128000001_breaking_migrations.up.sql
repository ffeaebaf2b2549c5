SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE breaking_migrations (
    version bigint NOT NULL,
    reason text NOT NULL,
    CONSTRAINT breaking_migrations_pkey PRIMARY KEY (version),
    CONSTRAINT breaking_migrations_reason_check CHECK (reason <> '')
);

COMMENT ON TABLE breaking_migrations IS
    'Migrations that programs cannot work with unless they know them. A program refuses to start if a row names a migration that it does not know. Migrations that are not listed are compatible with earlier programs.';
COMMENT ON COLUMN breaking_migrations.version IS 'The number of the migration, as in _sqlx_migrations.';
COMMENT ON COLUMN breaking_migrations.reason IS 'What no longer works in a program that does not know it; completes a sentence, without a period.';
COMMENT ON INDEX breaking_migrations_pkey IS 'At most one row per migration.';
