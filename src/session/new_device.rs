//! Notifies a user by mail of a sign-in from a new device. The mail is enqueued in the transaction that
//! creates the session, so that it is sent if and only if the session exists.

use sqlx::PgConnection;

use super::{notice, user_agent};
use crate::audit::{EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::id::UserId;
use crate::mail::{Message, Source, outbox};

/// Enqueues the mail, unless this is the first sign-in of the user. Call it before the sign-in itself is
/// recorded.
pub(super) async fn notify(
    connection: &mut PgConnection,
    sealer: &Sealer,
    user: UserId,
    origin: &Origin,
) -> sqlx::Result<()> {
    let user_row = sqlx::query!(
        r#"
        SELECT email, display_name, now() AS "now!"
          FROM users
         WHERE id = $1
           AND (EXISTS (SELECT FROM audit_events WHERE user_id = $1 AND event = $2)
                OR EXISTS (SELECT FROM sessions WHERE user_id = $1))
        "#,
        user as UserId,
        EventKind::SignedIn.as_str(),
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(user_row) = user_row else { return Ok(()) };
    // The device is always set, because the previous version cannot parse the message without it.
    let device = user_agent::describe(origin.user_agent.as_deref()).title;
    let source = Source { device: Some(device), ..notice::source(origin, user_row.now) };
    let message = Message::NewDevice { display_name: user_row.display_name, source };
    outbox::enqueue(connection, sealer, Some(user), &user_row.email, &message).await
}
