SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE recovery_requests (
    id              uuid        NOT NULL,
    email_canonical text        NOT NULL,
    ip_address      inet,
    user_agent      text,
    request_id      uuid,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT recovery_requests_pkey PRIMARY KEY (id),
    CONSTRAINT recovery_requests_user_agent_length CHECK (octet_length(user_agent) <= 512)
);

COMMENT ON TABLE recovery_requests IS
    'Somebody forgot a password; answered by mail within a second, if there is such an account, and gone. The page does not wait for it, so it can not tell.';
COMMENT ON COLUMN recovery_requests.id IS
    'UUID version 7: answered in this order.';
COMMENT ON COLUMN recovery_requests.email_canonical IS
    'The address that was typed, as it is compared.';
COMMENT ON COLUMN recovery_requests.ip_address IS
    'Where the request came from.';
COMMENT ON COLUMN recovery_requests.user_agent IS
    'What the browser called itself.';
COMMENT ON COLUMN recovery_requests.request_id IS
    'The id in the log lines of that request.';
COMMENT ON COLUMN recovery_requests.created_at IS
    'When it was asked for.';
COMMENT ON INDEX recovery_requests_pkey IS 'The oldest first.';
