SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

COMMENT ON INDEX audit_events_ip_address_idx IS NULL;
COMMENT ON INDEX email_tokens_email_canonical_idx IS NULL;
COMMENT ON INDEX mail_outbox_recipient_lower_idx IS NULL;
COMMENT ON INDEX mail_outbox_recipient_canonical_idx IS NULL;
