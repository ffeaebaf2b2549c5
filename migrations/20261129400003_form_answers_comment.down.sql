SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

COMMENT ON COLUMN form_answers.form_digest IS
    'The SHA-256 of a secret that is derived from the hidden field of the form, its address and its fields.';
COMMENT ON COLUMN form_answers.sealed_answer IS
    'Status, headers and cookies of the answer, encrypted with a key derived from the same secret. NULL while the form is being processed.';
