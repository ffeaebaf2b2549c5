SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

COMMENT ON COLUMN form_answers.form_digest IS
    'The SHA-256 of a secret that is derived from the hidden field of the form and its address.';
COMMENT ON COLUMN form_answers.sealed_answer IS
    'A digest of the form''s fields, and status, headers and cookies of the answer, encrypted with a key derived from the same secret. NULL while the form is being processed.';
