SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Comments only: no table is rewritten, and reads and writes continue meanwhile.
COMMENT ON TABLE users IS
    'User accounts. Deleting a row also deletes the sessions of that user (cascade).';
COMMENT ON COLUMN users.id IS
    'UUID version 7: sorts by time of registration. Public, not a secret.';
COMMENT ON COLUMN users.email IS
    'Email address as the user typed it; mail is sent here.';
COMMENT ON COLUMN users.email_canonical IS
    'Email address as it is compared: NFKC, lower case, domain in ASCII. Unique.';
COMMENT ON COLUMN users.display_name IS
    'Name shown on pages and in mail: 1 to 64 characters, no line breaks.';
COMMENT ON COLUMN users.role IS
    'user or admin.';
COMMENT ON COLUMN users.password_hash IS
    'argon2id in PHC string format, or the hash of another system after an import. Null: sign-in by password is not possible.';
COMMENT ON COLUMN users.password_changed_at IS
    'When the password was last set or invalidated; a rehash with newer parameters does not count.';
COMMENT ON COLUMN users.created_at IS
    'When the account was created.';
COMMENT ON COLUMN users.disabled_at IS
    'Not null: sign-in is refused and existing sessions are not accepted.';
COMMENT ON COLUMN users.email_verified_at IS
    'When the user proved that they receive mail at users.email; null: not verified.';
COMMENT ON COLUMN users.deletion_due_at IS
    'When the account will be deleted, at the request of the user; null: no deletion is scheduled.';
COMMENT ON INDEX users_pkey IS
    'Finds a user by id.';
COMMENT ON INDEX users_email_canonical_key IS
    'One account per email; finds the user at sign-in.';
COMMENT ON INDEX users_deletion_due_at_idx IS
    'Finds accounts whose scheduled deletion is due.';
COMMENT ON TABLE sessions IS
    'Sessions, one row per browser. Deleting a row signs that browser out.';
COMMENT ON COLUMN sessions.token_digest IS
    'SHA-256 of the secret in the cookie. The secret is not stored in the database.';
COMMENT ON COLUMN sessions.id IS
    'UUID version 7, public: shown on pages and in logs; not a credential.';
COMMENT ON COLUMN sessions.user_id IS
    'The user who is signed in; null before sign-in.';
COMMENT ON COLUMN sessions.state IS
    'Application data of this session, as a JSON object; excludes what has its own column.';
COMMENT ON COLUMN sessions.created_at IS
    'When the session was created.';
COMMENT ON COLUMN sessions.authenticated_at IS
    'When the user last authenticated in this session; null before sign-in.';
COMMENT ON COLUMN sessions.expires_at IS
    'The session expires at this time. Extended by activity, never beyond absolute_expires_at.';
COMMENT ON COLUMN sessions.absolute_expires_at IS
    'Absolute timeout, not extended by activity. Set once, when the session is created.';
COMMENT ON COLUMN sessions.idle_timeout IS
    'How long the session may be idle. Set once: later changes of the setting do not affect it.';
COMMENT ON COLUMN sessions.remembered IS
    'The user chose to stay signed in: the cookie is kept when the browser closes.';
COMMENT ON COLUMN sessions.auth_methods IS
    'Authentication methods, in the terms of RFC 8176: pwd for a password.';
COMMENT ON COLUMN sessions.ip_address IS
    'IP address at sign-in.';
COMMENT ON COLUMN sessions.user_agent IS
    'User-Agent header at sign-in, at most 512 bytes.';
COMMENT ON COLUMN sessions.format_version IS
    'Format of state; this version of the program and the one before read each other''s rows.';
COMMENT ON COLUMN sessions.purge_after IS
    'expires_at rounded down to the hour; used only by the purge.';
COMMENT ON INDEX sessions_user_id_idx IS
    'Lists and revokes the sessions of a user.';
COMMENT ON INDEX sessions_purge_after_idx IS
    'Used by the purge; changes at most once an hour per session.';
COMMENT ON TABLE audit_events IS
    'Audit log of accounts and sessions. Each event is inserted in the transaction that it describes. Append-only.';
COMMENT ON COLUMN audit_events.id IS
    'Increases with time; gaps have no meaning.';
COMMENT ON COLUMN audit_events.event IS
    'Event name: registered, signed_in, sign_in_refused, session_ended, password_changed, and so on.';
COMMENT ON COLUMN audit_events.user_id IS
    'The affected user; no foreign key, so that events are kept after the account is deleted.';
COMMENT ON COLUMN audit_events.session_id IS
    'Public id of the affected session, if any.';
COMMENT ON COLUMN audit_events.actor IS
    'Who did it: user (from a page), operator (from the command line), system (a background job).';
COMMENT ON COLUMN audit_events.ip_address IS
    'IP address of the request; null without a request.';
COMMENT ON COLUMN audit_events.user_agent IS
    'User-Agent header of the request, at most 512 bytes.';
COMMENT ON COLUMN audit_events.request_id IS
    'Request id, also shown in the log lines and on the error page of that request.';
COMMENT ON COLUMN audit_events.details IS
    'Further details, such as the cause; never a secret, never what a user typed.';
COMMENT ON INDEX audit_events_pkey IS
    'Order of insertion.';
COMMENT ON INDEX audit_events_user_id_idx IS
    'The events of one user, newest first.';
COMMENT ON INDEX audit_events_occurred_at_idx IS
    'Used by retention.';
COMMENT ON SEQUENCE audit_events_id_seq IS
    'Numbers audit events.';
COMMENT ON FUNCTION audit_events_forget(interval, integer) IS
    'Deletes at most at_most audit events older than older_than, never events younger than 7 days; used by retention.';
COMMENT ON FUNCTION audit_events_anonymize(uuid) IS
    'Removes IP address, browser, session and request id from the events of a deleted account.';
COMMENT ON TABLE session_caches IS
    'Servers with a session cache, one row each. Revoking a session waits for the servers that may still have it cached.';
COMMENT ON COLUMN session_caches.id IS
    'The running server; a new id at each start.';
COMMENT ON COLUMN session_caches.trusted_until IS
    'Lease: the server answers from its cache at most until then; renewed every second. In the past: it queries the database.';
COMMENT ON COLUMN session_caches.answered IS
    'The server has applied every invalidation committed before this number was drawn from session_asks.';
COMMENT ON COLUMN session_caches.started_at IS
    'When the server started.';
COMMENT ON INDEX session_caches_pkey IS
    'One row per server.';
COMMENT ON SEQUENCE session_asks IS
    'Numbers the requests to confirm that invalidations were applied.';
COMMENT ON FUNCTION sessions_announce() IS
    'Notifies servers which sessions changed or ended.';
COMMENT ON FUNCTION users_announce() IS
    'Notifies servers of users whose name, email, role or disabled state changed.';
COMMENT ON FUNCTION truncation_announce() IS
    'Notifies servers to clear their session cache.';
COMMENT ON COLUMN session_cache_resets.singleton IS
    'Always true: the table has one row.';
COMMENT ON COLUMN session_cache_resets.resets IS
    'Number of changes without a notification. A server that reads a different number than before clears its session cache.';
COMMENT ON COLUMN session_cache_resets.last_reset_at IS
    'When resets last increased.';
COMMENT ON INDEX session_cache_resets_pkey IS
    'Ensures that there is at most one row.';
COMMENT ON VIEW active_sessions IS
    'Who is signed in, from where, since when and until when; contains no credentials.';
COMMENT ON COLUMN active_sessions.id IS
    'sessions.id; DELETE FROM sessions WHERE id = … signs it out.';
COMMENT ON COLUMN active_sessions.email IS
    'Email address as the user typed it.';
COMMENT ON COLUMN active_sessions.display_name IS
    'Name shown on pages and in mail.';
COMMENT ON COLUMN active_sessions.signed_in_at IS
    'When the session was created.';
COMMENT ON COLUMN active_sessions.authenticated_at IS
    'When the user last authenticated in this session.';
COMMENT ON COLUMN active_sessions.expires_at IS
    'When the session expires without further activity.';
COMMENT ON COLUMN active_sessions.absolute_expires_at IS
    'When the session expires regardless of activity.';
COMMENT ON COLUMN active_sessions.remembered IS
    'The cookie is kept when the browser closes.';
COMMENT ON COLUMN active_sessions.auth_methods IS
    'Authentication methods (RFC 8176).';
COMMENT ON COLUMN active_sessions.ip_address IS
    'IP address at sign-in.';
COMMENT ON COLUMN active_sessions.user_agent IS
    'User-Agent header at sign-in.';
COMMENT ON TABLE mail_outbox IS
    'Outgoing mail and its delivery status. A row is inserted in the transaction that causes the mail.';
COMMENT ON COLUMN mail_outbox.id IS
    'UUID version 7; also the Message-ID, so that the receiver can detect a duplicate.';
COMMENT ON COLUMN mail_outbox.kind IS
    'Which mail: reset_password, new_device, and so on; a folder in templates/mail.';
COMMENT ON COLUMN mail_outbox.user_id IS
    'The affected user; null when there is no account.';
COMMENT ON COLUMN mail_outbox.recipient IS
    'Email address of the recipient.';
COMMENT ON COLUMN mail_outbox.sealed IS
    'Content, encrypted with FRONTDESK_SECRET_KEYS because it contains links that grant access. Null once sent.';
COMMENT ON COLUMN mail_outbox.state IS
    'waiting; sent; kept (no mail server is configured: see /dev/mailbox); failed (permanently).';
COMMENT ON COLUMN mail_outbox.attempts IS
    'How many delivery attempts were started.';
COMMENT ON COLUMN mail_outbox.created_at IS
    'When it was inserted.';
COMMENT ON COLUMN mail_outbox.next_attempt_at IS
    'Earliest next attempt. While a server is sending the mail: when its lease expires and another server may reclaim it.';
COMMENT ON COLUMN mail_outbox.finished_at IS
    'When it was sent, kept or failed permanently.';
COMMENT ON COLUMN mail_outbox.last_error IS
    'Error of the last attempt, as reported by the mail server.';
COMMENT ON INDEX mail_outbox_due_idx IS
    'Finds the mail to send next.';
COMMENT ON INDEX mail_outbox_finished_at_idx IS
    'Used by the purge.';
COMMENT ON INDEX mail_outbox_user_id_idx IS
    'Used when an account is deleted (cascade).';
COMMENT ON TABLE registrations IS
    'Registrations whose email is not yet verified. The account is created when it is. Deleted after a day.';
COMMENT ON COLUMN registrations.ticket_digest IS
    'SHA-256 of the secret in the registration cookie: the code from the mail works only in the browser that registered.';
COMMENT ON COLUMN registrations.token_digest IS
    'SHA-256 of the secret in the link; null until the mail is written, and if the email already has an account.';
COMMENT ON COLUMN registrations.code_digest IS
    'Keyed digest of the code, bound to this row; null when token_digest is null.';
COMMENT ON COLUMN registrations.code_tries IS
    'Number of wrong codes entered.';
COMMENT ON COLUMN registrations.email IS
    'Email address as the user typed it.';
COMMENT ON COLUMN registrations.email_canonical IS
    'Email address as it is compared.';
COMMENT ON COLUMN registrations.display_name IS
    'Name to be shown on pages and in mail.';
COMMENT ON COLUMN registrations.password_hash IS
    'Hash of the chosen password, which must be entered again when the link is used.';
COMMENT ON COLUMN registrations.mailed_at IS
    'When the mail was inserted into mail_outbox; null: not yet.';
COMMENT ON COLUMN registrations.created_at IS
    'When the user registered.';
COMMENT ON COLUMN registrations.code_expires_at IS
    'When the code expires.';
COMMENT ON COLUMN registrations.expires_at IS
    'When the link expires.';
COMMENT ON INDEX registrations_pkey IS
    'Finds a registration by id.';
COMMENT ON INDEX registrations_ticket_digest_key IS
    'Finds the registration of a browser.';
COMMENT ON INDEX registrations_token_digest_key IS
    'Finds the registration of a link.';
COMMENT ON INDEX registrations_email_canonical_idx IS
    'Finds all registrations of an email; all are deleted when one is verified.';
COMMENT ON INDEX registrations_expires_at_idx IS
    'Used by the purge.';
COMMENT ON INDEX registrations_unmailed_idx IS
    'Finds the next mail to write.';
COMMENT ON TABLE email_tokens IS
    'Links for users, one row each: mailed, or used in the redirect after a change of email was undone. Single use: the row is deleted.';
COMMENT ON COLUMN email_tokens.token_digest IS
    'SHA-256 of the secret in the link. The secret is not stored in the database.';
COMMENT ON COLUMN email_tokens.purpose IS
    'Purpose of the link: verify_email, reset_password, change_email or undo_email_change.';
COMMENT ON COLUMN email_tokens.user_id IS
    'The user whom the link belongs to.';
COMMENT ON COLUMN email_tokens.email IS
    'Email address that the link verifies, sets or restores, or to which it was mailed; as typed.';
COMMENT ON COLUMN email_tokens.email_canonical IS
    'The same as it is compared. A link never verifies a different email; a link that sets a password works only while this is the email of the account.';
COMMENT ON COLUMN email_tokens.code_digest IS
    'Keyed digest of the code that can be typed instead, bound to the account; null if there is no code.';
COMMENT ON COLUMN email_tokens.code_tries IS
    'Number of wrong codes entered.';
COMMENT ON COLUMN email_tokens.created_at IS
    'When the link was created. Undoing a change of email deletes the undo links of later changes.';
COMMENT ON COLUMN email_tokens.code_expires_at IS
    'When the code expires.';
COMMENT ON COLUMN email_tokens.expires_at IS
    'When the link expires.';
COMMENT ON INDEX email_tokens_user_id_idx IS
    'Finds the links of a user, to delete those that a newer link or a change of the account invalidates.';
COMMENT ON INDEX email_tokens_expires_at_idx IS
    'Used by the purge.';
COMMENT ON TABLE recovery_requests IS
    'Requests to reset a password. A background job mails a link if there is an account, and deletes the row, so that response time does not reveal whether an email has an account.';
COMMENT ON COLUMN recovery_requests.id IS
    'UUID version 7: requests are processed in this order.';
COMMENT ON COLUMN recovery_requests.email_canonical IS
    'Requested email address, as it is compared.';
COMMENT ON COLUMN recovery_requests.ip_address IS
    'IP address of the request.';
COMMENT ON COLUMN recovery_requests.user_agent IS
    'User-Agent header of the request.';
COMMENT ON COLUMN recovery_requests.request_id IS
    'Request id, also in the log lines of that request.';
COMMENT ON COLUMN recovery_requests.created_at IS
    'When it was requested.';
COMMENT ON INDEX recovery_requests_pkey IS
    'Finds the oldest request.';
COMMENT ON TABLE throttles IS
    'Rate-limit counters per account, IP address, pair of both, known device and mail recipient. TRUNCATE resets all limits.';
COMMENT ON COLUMN throttles.action IS
    'What is limited, and by which key: sign_in_account, sign_in_address, and so on.';
COMMENT ON COLUMN throttles.subject IS
    'Digest of the key, so that nothing that a user typed is stored here.';
COMMENT ON COLUMN throttles.tries IS
    'Number of attempts allowed since the counter was last reset.';
COMMENT ON COLUMN throttles.free_at IS
    'When the next attempt is allowed.';
COMMENT ON COLUMN throttles.tried_at IS
    'When the last attempt was allowed.';
COMMENT ON COLUMN throttles.forget_at IS
    'When the counter is reset; the purge then deletes the row.';
COMMENT ON INDEX throttles_pkey IS
    'Finds a counter.';
COMMENT ON INDEX throttles_forget_at_idx IS
    'Used by the purge.';
