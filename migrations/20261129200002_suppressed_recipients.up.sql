SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE suppressed_recipients (
    email_canonical  text        NOT NULL,
    user_id          uuid,
    reason           text        NOT NULL,
    -- A handful, never near the limit.
    -- squawk-ignore prefer-bigint-over-int
    bounces          integer     NOT NULL DEFAULT 0,
    created_at       timestamptz NOT NULL DEFAULT now(),
    suppressed_until timestamptz NOT NULL,
    CONSTRAINT suppressed_recipients_pkey PRIMARY KEY (email_canonical),
    CONSTRAINT suppressed_recipients_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT suppressed_recipients_reason_known CHECK (reason IN ('bounced', 'operator')),
    CONSTRAINT suppressed_recipients_email_length CHECK (octet_length(email_canonical) <= 512)
);

CREATE INDEX suppressed_recipients_user_id_idx ON suppressed_recipients (user_id);
CREATE INDEX suppressed_recipients_until_idx ON suppressed_recipients (suppressed_until);

COMMENT ON TABLE suppressed_recipients IS
    'Emails that get no mail: their mail server said that the mailbox does not exist, or an operator suppressed them.';
COMMENT ON COLUMN suppressed_recipients.email_canonical IS
    'The email as it is compared.';
COMMENT ON COLUMN suppressed_recipients.user_id IS
    'The account that the mail was about; the row is deleted with it. Null: a registration, or no account.';
COMMENT ON COLUMN suppressed_recipients.reason IS
    'bounced or operator.';
COMMENT ON COLUMN suppressed_recipients.bounces IS
    'How many mails bounced. Each one doubles the time, from one day to 32.';
COMMENT ON COLUMN suppressed_recipients.created_at IS
    'When the email was first suppressed.';
COMMENT ON COLUMN suppressed_recipients.suppressed_until IS
    'Mail is sent again from then on; infinity: until an operator runs frontdesk mail unsuppress. The row is deleted 60 days later.';
COMMENT ON INDEX suppressed_recipients_pkey IS 'Whether a recipient gets mail.';
COMMENT ON INDEX suppressed_recipients_user_id_idx IS 'Deletes the rows of a deleted account.';
COMMENT ON INDEX suppressed_recipients_until_idx IS 'Serves the purge.';
