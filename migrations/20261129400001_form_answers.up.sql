SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Unlogged: written by every form, and of use for seconds. After a crash of PostgreSQL, a form that arrives a
-- second time is processed a second time.
CREATE UNLOGGED TABLE form_answers (
    form_digest   bytea       NOT NULL,
    sealed_answer bytea,
    expires_at    timestamptz NOT NULL,
    CONSTRAINT form_answers_pkey PRIMARY KEY (form_digest),
    CONSTRAINT form_answers_form_digest_length CHECK (octet_length(form_digest) = 32),
    CONSTRAINT form_answers_sealed_answer_length CHECK (octet_length(sealed_answer) <= 9000)
)
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX form_answers_expires_at_idx ON form_answers (expires_at);

COMMENT ON TABLE form_answers IS
    'Forms that arrived within the last seconds, and how they were answered: a double click gets the answer of the first. Nothing in it is a credential or can be opened without the form.';
COMMENT ON COLUMN form_answers.form_digest IS
    'The SHA-256 of a secret that is derived from the hidden field of the form, its address and its fields.';
COMMENT ON COLUMN form_answers.sealed_answer IS
    'Status, headers and cookies of the answer, encrypted with a key derived from the same secret. NULL while the form is being processed.';
COMMENT ON COLUMN form_answers.expires_at IS
    'From then on the form counts as new. The purge deletes the row.';
COMMENT ON INDEX form_answers_pkey IS 'Finds the first arrival of a form.';
COMMENT ON INDEX form_answers_expires_at_idx IS 'Used by the purge.';
