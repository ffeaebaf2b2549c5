//! Notifies a user by mail of a sign-in from a new device, and of one after several failed attempts (ASVS 5.0
//! V6.3.5). The mail is enqueued in the transaction that creates the session, so that it is sent if and only if
//! the session exists.

use sqlx::PgConnection;

use super::{notice, user_agent};
use crate::audit::{EventKind, Origin, RefusalReason};
use crate::crypto::seal::Sealer;
use crate::id::UserId;
use crate::mail::{Message, Source, outbox};

/// A sign-in after this many failed attempts is worth a mail, also on a known device.
const NOTABLE_FAILURES: i64 = 5;
/// How many of the user's latest audit events are read to count the failed attempts.
const RECENT_EVENTS: i64 = 100;

/// A mail about a sign-in.
pub(super) struct SignInNotice {
    recipient: String,
    message: Message,
}

/// The mail about the sign-in that the caller's transaction is about to record, if it is worth one. A new
/// device is not, if this is the first sign-in of the user. Failed attempts are counted from the last sign-in
/// on, for a day at most.
pub(super) async fn find(
    connection: &mut PgConnection,
    user: UserId,
    origin: &Origin,
    on_new_device: bool,
) -> sqlx::Result<Option<SignInNotice>> {
    let found = sqlx::query!(
        r#"
          WITH recent AS MATERIALIZED (
               SELECT id, event, details
                 FROM audit_events
                WHERE user_id = $1
                  AND occurred_at > now() - interval '1 day'
                ORDER BY occurred_at DESC, id DESC
                LIMIT $2)
        SELECT u.email, u.display_name, now() AS "now!",
               (SELECT count(*)
                  FROM recent r
                 WHERE r.event = $4
                   AND r.details ->> 'why' = $5
                   AND r.id > coalesce((SELECT max(id) FROM recent WHERE event = $6), 0))
                   AS "failures!",
               ($3 AND (EXISTS (SELECT FROM sessions WHERE user_id = $1)
                        OR EXISTS (SELECT FROM audit_events WHERE user_id = $1 AND event = $6)))
                   AS "is_on_other_device!"
          FROM users u
         WHERE u.id = $1
        "#,
        user as UserId,
        RECENT_EVENTS,
        on_new_device,
        EventKind::SignInRefused.as_str(),
        RefusalReason::WrongPassword.as_str(),
        EventKind::SignedIn.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    let Some(found) = found else { return Ok(None) };
    // The device is always set, because the previous version cannot parse the message without it.
    let device = user_agent::title(origin.user_agent.as_deref());
    let source = Source { device: Some(device), ..notice::source(origin, found.now) };
    let (display_name, failures) = (found.display_name, found.failures);
    let message = if failures >= NOTABLE_FAILURES {
        Message::SignInAfterFailures { display_name, failures, source }
    } else if found.is_on_other_device {
        Message::NewDevice { display_name, source }
    } else {
        return Ok(None);
    };
    Ok(Some(SignInNotice { recipient: found.email, message }))
}

impl SignInNotice {
    /// Enqueues the mail. Call it at the end of the transaction, after the locks on sessions.
    pub(super) async fn enqueue(
        self,
        connection: &mut PgConnection,
        sealer: &Sealer,
        user: UserId,
    ) -> sqlx::Result<()> {
        let Self { recipient, message } = self;
        outbox::enqueue(connection, sealer, Some(user), &recipient, &message).await?;
        Ok(())
    }
}
