SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '60s';

-- Restores the comments of the migrations before.
COMMENT ON TABLE users IS
    'Everybody who can sign in. Deleting a row ends all sessions of that person (cascade).';
COMMENT ON COLUMN users.id IS
    'UUID version 7: sorts by the moment of registration. Public, not a secret.';
COMMENT ON COLUMN users.email IS
    'The address as the person typed it; mail goes here.';
COMMENT ON COLUMN users.email_canonical IS
    'The address as it is compared: NFKC, lower case, domain in ASCII. One account for each.';
COMMENT ON COLUMN users.display_name IS
    'What pages call this person: 1 to 64 characters, no line breaks.';
COMMENT ON COLUMN users.role IS
    'user, or admin: may use the operator pages.';
COMMENT ON COLUMN users.password_hash IS
    'argon2id in PHC string form with its parameters and salt; null: nobody can sign in by password.';
COMMENT ON COLUMN users.password_changed_at IS
    'When the password was last chosen or invalidated; a rehash with newer parameters does not count.';
COMMENT ON COLUMN users.created_at IS
    'When this person registered or was created.';
COMMENT ON COLUMN users.disabled_at IS
    'Set: sign-in is refused and existing sessions are not accepted. Null: enabled.';
COMMENT ON COLUMN users.email_verified_at IS
    'When somebody proved to read mail at users.email; null: nobody has yet.';
COMMENT ON COLUMN users.deletion_due_at IS
    'The person asked for the account to be deleted; it is from then on. Null: it stays.';
COMMENT ON INDEX users_pkey IS
    'Finds a person by id.';
COMMENT ON INDEX users_email_canonical_key IS
    'One account for each address; finds a person at sign-in.';
COMMENT ON INDEX users_deletion_due_at_idx IS
    'Finds accounts whose days of grace are over.';
COMMENT ON TABLE sessions IS
    'Everybody who is signed in, one row for each browser. DELETE a row and that browser is signed out.';
COMMENT ON COLUMN sessions.token_digest IS
    'SHA-256 of the secret in the cookie. The secret itself is nowhere in the database.';
COMMENT ON COLUMN sessions.id IS
    'UUID version 7, public: shown on pages and in logs, useless as a credential.';
COMMENT ON COLUMN sessions.user_id IS
    'Who is signed in; null before sign-in.';
COMMENT ON COLUMN sessions.state IS
    'What the application keeps for this session, as a JSON object; what has a column is not repeated here.';
COMMENT ON COLUMN sessions.created_at IS
    'When the session began.';
COMMENT ON COLUMN sessions.authenticated_at IS
    'When this person last proved who they are in this session; null before sign-in.';
COMMENT ON COLUMN sessions.expires_at IS
    'The session is over from here on. Slides with activity, never past absolute_expires_at.';
COMMENT ON COLUMN sessions.absolute_expires_at IS
    'The end that no activity moves. Set once, when the session begins.';
COMMENT ON COLUMN sessions.idle_timeout IS
    'How long this session may rest. Set once: a later change of the setting does not touch it.';
COMMENT ON COLUMN sessions.remembered IS
    'The person asked to stay signed in: the cookie outlives the browser.';
COMMENT ON COLUMN sessions.auth_methods IS
    'How they proved it, in the terms of RFC 8176: pwd for a password.';
COMMENT ON COLUMN sessions.ip_address IS
    'The address the sign-in came from.';
COMMENT ON COLUMN sessions.user_agent IS
    'What the browser called itself at sign-in, at most 512 bytes.';
COMMENT ON COLUMN sessions.format_version IS
    'How state is written; this version and the one before it read each other''s rows.';
COMMENT ON COLUMN sessions.purge_after IS
    'expires_at rounded down to the hour, for the purge alone.';
COMMENT ON INDEX sessions_user_id_idx IS
    'Lists the sessions of a person and ends them.';
COMMENT ON INDEX sessions_purge_after_idx IS
    'Serves the purge; moves at most once an hour for a session.';
COMMENT ON TABLE audit_events IS
    'What happened to accounts and sessions, written in the same transaction as the event itself. Append-only.';
COMMENT ON COLUMN audit_events.id IS
    'Grows with time; gaps mean nothing.';
COMMENT ON COLUMN audit_events.event IS
    'What happened: registered, signed_in, sign_in_refused, session_ended, password_changed, and so on.';
COMMENT ON COLUMN audit_events.user_id IS
    'Whom it concerns; no foreign key, so that the trail outlives the account.';
COMMENT ON COLUMN audit_events.session_id IS
    'The public id of the session it concerns, if one.';
COMMENT ON COLUMN audit_events.actor IS
    'Who did it: user (from a page), operator (from the command line), system (by itself).';
COMMENT ON COLUMN audit_events.ip_address IS
    'The address the request came from; null when there was no request.';
COMMENT ON COLUMN audit_events.user_agent IS
    'What the browser called itself, at most 512 bytes.';
COMMENT ON COLUMN audit_events.request_id IS
    'The id that the log lines and the error page of that request carry.';
COMMENT ON COLUMN audit_events.details IS
    'What else is worth knowing, such as the cause; never a secret, never what somebody typed.';
COMMENT ON INDEX audit_events_pkey IS
    'Order of writing.';
COMMENT ON INDEX audit_events_user_id_idx IS
    'The trail of one person, newest first.';
COMMENT ON INDEX audit_events_occurred_at_idx IS
    'Serves retention.';
COMMENT ON SEQUENCE audit_events_id_seq IS
    'Numbers the events of the trail.';
COMMENT ON FUNCTION audit_events_forget(interval, integer) IS
    'Deletes events older than that, never younger than a week, at most so many; for the retention.';
COMMENT ON FUNCTION audit_events_anonymize(uuid) IS
    'Takes address, browser and session from the events of a person whose account is gone.';
COMMENT ON TABLE session_caches IS
    'Servers that serve sessions from memory, a row each. Whoever ends a session waits for those that may still know it.';
COMMENT ON COLUMN session_caches.id IS
    'The running server; a new one at each start.';
COMMENT ON COLUMN session_caches.trusted_until IS
    'Until then at most it answers from memory; renewed every second. Past: it asks this database.';
COMMENT ON COLUMN session_caches.answered IS
    'Everything that was committed before this number was drawn from session_asks, it has forgotten.';
COMMENT ON COLUMN session_caches.started_at IS
    'When the server began.';
COMMENT ON INDEX session_caches_pkey IS
    'One row for each server.';
COMMENT ON SEQUENCE session_asks IS
    'Numbers the questions "have you forgotten?".';
COMMENT ON FUNCTION sessions_announce() IS
    'Tells the servers which sessions changed or ended.';
COMMENT ON FUNCTION users_announce() IS
    'Tells the servers whose name, address, role or state changed.';
COMMENT ON FUNCTION truncation_announce() IS
    'Tells the servers to forget everything.';
COMMENT ON COLUMN session_cache_resets.singleton IS
    'Always true: there is one row.';
COMMENT ON COLUMN session_cache_resets.resets IS
    'Changes without a notification. A server that reads another number than before forgets every cached session.';
COMMENT ON COLUMN session_cache_resets.last_reset_at IS
    'When it last happened.';
COMMENT ON INDEX session_cache_resets_pkey IS
    'Keeps it at one row.';
COMMENT ON VIEW active_sessions IS
    'Who is signed in, from where, since when and until when; nothing in it is a credential.';
COMMENT ON COLUMN active_sessions.id IS
    'sessions.id; DELETE FROM sessions WHERE id = … ends it.';
COMMENT ON COLUMN active_sessions.email IS
    'Their address as typed.';
COMMENT ON COLUMN active_sessions.display_name IS
    'What pages call them.';
COMMENT ON COLUMN active_sessions.signed_in_at IS
    'When the session began.';
COMMENT ON COLUMN active_sessions.authenticated_at IS
    'When they last proved who they are in this session.';
COMMENT ON COLUMN active_sessions.expires_at IS
    'When it ends if nothing happens.';
COMMENT ON COLUMN active_sessions.absolute_expires_at IS
    'When it ends whatever happens.';
COMMENT ON COLUMN active_sessions.remembered IS
    'The cookie outlives the browser.';
COMMENT ON COLUMN active_sessions.auth_methods IS
    'How they proved it (RFC 8176).';
COMMENT ON COLUMN active_sessions.ip_address IS
    'The address of the sign-in.';
COMMENT ON COLUMN active_sessions.user_agent IS
    'The browser of the sign-in.';
COMMENT ON TABLE mail_outbox IS
    'Mail to be sent, put here in the transaction that gives rise to it, and what became of it.';
COMMENT ON COLUMN mail_outbox.id IS
    'UUID version 7; also the Message-ID, so that a receiver can tell a duplicate.';
COMMENT ON COLUMN mail_outbox.kind IS
    'Which message: reset_password, new_device, and so on; the folder below templates/mail.';
COMMENT ON COLUMN mail_outbox.user_id IS
    'Whom it concerns; null when there is no account (yet, or any more).';
COMMENT ON COLUMN mail_outbox.recipient IS
    'The address it goes to.';
COMMENT ON COLUMN mail_outbox.sealed IS
    'What the message says, encrypted with FRONTDESK_SECRET_KEYS: links in it open things. Null once it is sent.';
COMMENT ON COLUMN mail_outbox.state IS
    'waiting; sent; kept (no mail server is set: see /dev/mailbox); failed (given up).';
COMMENT ON COLUMN mail_outbox.attempts IS
    'How often sending was begun.';
COMMENT ON COLUMN mail_outbox.created_at IS
    'When it was put here.';
COMMENT ON COLUMN mail_outbox.next_attempt_at IS
    'Not before then; while a server is sending it, when another may take over.';
COMMENT ON COLUMN mail_outbox.finished_at IS
    'When it was sent, kept or given up.';
COMMENT ON COLUMN mail_outbox.last_error IS
    'Why the last attempt failed, in the words of the mail server.';
COMMENT ON INDEX mail_outbox_due_idx IS
    'What is to be sent next.';
COMMENT ON INDEX mail_outbox_finished_at_idx IS
    'Serves the purge.';
COMMENT ON INDEX mail_outbox_user_id_idx IS
    'Takes the mail of a deleted account along.';
COMMENT ON TABLE registrations IS
    'People who registered and have not yet shown that the address is theirs. No account until then; gone after a day.';
COMMENT ON COLUMN registrations.ticket_digest IS
    'SHA-256 of what the browser that registered holds: a code from the mail counts in that browser only.';
COMMENT ON COLUMN registrations.token_digest IS
    'SHA-256 of the secret in the link; null until the mail is written, and for an address that has an account.';
COMMENT ON COLUMN registrations.code_digest IS
    'Digest of the short code, bound to this row; null as token_digest.';
COMMENT ON COLUMN registrations.code_tries IS
    'Wrong codes so far.';
COMMENT ON COLUMN registrations.email IS
    'The address as typed.';
COMMENT ON COLUMN registrations.email_canonical IS
    'The address as it is compared.';
COMMENT ON COLUMN registrations.display_name IS
    'What pages will call this person.';
COMMENT ON COLUMN registrations.password_hash IS
    'Of the password that was chosen; asked for again when the link is used.';
COMMENT ON COLUMN registrations.mailed_at IS
    'When the mail was put into mail_outbox; null: within a second.';
COMMENT ON COLUMN registrations.created_at IS
    'When somebody registered.';
COMMENT ON COLUMN registrations.code_expires_at IS
    'The short code is good until then.';
COMMENT ON COLUMN registrations.expires_at IS
    'The link is good until then.';
COMMENT ON INDEX registrations_pkey IS
    'Finds one.';
COMMENT ON INDEX registrations_ticket_digest_key IS
    'Finds the one of a browser.';
COMMENT ON INDEX registrations_token_digest_key IS
    'Finds the one of a link.';
COMMENT ON INDEX registrations_email_canonical_idx IS
    'All of one address: they go when one is verified.';
COMMENT ON INDEX registrations_expires_at_idx IS
    'Serves the purge.';
COMMENT ON INDEX registrations_unmailed_idx IS
    'What is to be written next.';
COMMENT ON TABLE email_tokens IS
    'Links of people with an account, one row each: mailed, or shown once when a change of email was undone. Used once, then deleted.';
COMMENT ON COLUMN email_tokens.token_digest IS
    'SHA-256 of the secret in the link. The secret itself is nowhere in the database.';
COMMENT ON COLUMN email_tokens.purpose IS
    'What the link does: verify_email, reset_password, change_email, undo_email_change.';
COMMENT ON COLUMN email_tokens.user_id IS
    'Whose account.';
COMMENT ON COLUMN email_tokens.email IS
    'The address that the link makes the one of the account, or confirms; as typed.';
COMMENT ON COLUMN email_tokens.email_canonical IS
    'The same as it is compared. A link never confirms another address than this one; a link that sets a password counts only while it is the address of the account.';
COMMENT ON COLUMN email_tokens.code_digest IS
    'Digest of the short code to type instead, bound to the account; null where there is none.';
COMMENT ON COLUMN email_tokens.code_tries IS
    'Wrong codes so far.';
COMMENT ON COLUMN email_tokens.created_at IS
    'When it was created. Undoing a change of email ends the undo links of later changes.';
COMMENT ON COLUMN email_tokens.code_expires_at IS
    'The short code is good until then.';
COMMENT ON COLUMN email_tokens.expires_at IS
    'The link is good until then.';
COMMENT ON INDEX email_tokens_user_id_idx IS
    'The links of a person: newer ones and changes end older ones.';
COMMENT ON INDEX email_tokens_expires_at_idx IS
    'Serves the purge.';
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
COMMENT ON INDEX recovery_requests_pkey IS
    'The oldest first.';
COMMENT ON TABLE throttles IS
    'How often something was tried lately, for each account, address, and pair of them. Emptying it lets everybody try again.';
COMMENT ON COLUMN throttles.action IS
    'What was tried, and by what it is counted: sign_in_account, sign_in_address, and so on.';
COMMENT ON COLUMN throttles.subject IS
    'A digest of the account, the address, or both, so that nothing that somebody typed stands here.';
COMMENT ON COLUMN throttles.tries IS
    'Tries that were let through since they were last forgotten.';
COMMENT ON COLUMN throttles.free_at IS
    'The next try is let through from then on.';
COMMENT ON COLUMN throttles.tried_at IS
    'The last try that was let through.';
COMMENT ON COLUMN throttles.forget_at IS
    'From then on it is as if nothing had been tried; the purge takes the row away.';
COMMENT ON INDEX throttles_pkey IS
    'Finds the counter.';
COMMENT ON INDEX throttles_forget_at_idx IS
    'Serves the purge.';
