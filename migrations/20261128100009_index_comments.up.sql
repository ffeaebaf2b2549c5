SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

COMMENT ON INDEX mail_outbox_recipient_canonical_idx IS
    'Finds the mails to an email: deleted with the account, and part of the export.';
COMMENT ON INDEX mail_outbox_recipient_lower_idx IS
    'The same for mails without recipient_canonical; empty once those are purged.';
COMMENT ON INDEX email_tokens_email_canonical_idx IS
    'Whether an undo link can still restore an email; used by registrations.';
COMMENT ON INDEX audit_events_ip_address_idx IS
    'The events of an IP address or network, newest first.';
