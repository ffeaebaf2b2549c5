SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Null in rows of a version before this one, which does not write it.
ALTER TABLE servers ADD COLUMN mail text;

COMMENT ON COLUMN servers.mail IS
    'What this server does with mail: smtp, folder or kept. A server leaves mail to one that does more with it. Null: a version that does not write it.';
