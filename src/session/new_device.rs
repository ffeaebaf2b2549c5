//! "Somebody signed in with a browser that never did before": told to the owner by mail, in the transaction that begins
//! the session, so that it is sent if and only if somebody is in.

use sqlx::PgConnection;

use super::notice;
use crate::audit::Origin;
use crate::crypto::seal::Sealer;
use crate::id::UserId;
use crate::mail::{Message, outbox};

/// Enqueues the mail, unless this is the first sign-in of all: then there is nobody to be warned. To be called before the
/// sign-in itself is recorded.
pub(super) async fn tell(
    connection: &mut PgConnection,
    sealer: &Sealer,
    user: UserId,
    origin: &Origin,
) -> sqlx::Result<()> {
    let owner = sqlx::query!(
        r#"
        SELECT email, display_name, now() AS "now!"
          FROM users
         WHERE id = $1
           AND (EXISTS (SELECT FROM audit_events WHERE user_id = $1 AND event = 'signed_in')
                OR EXISTS (SELECT FROM sessions WHERE user_id = $1))
        "#,
        user as UserId,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(owner) = owner else { return Ok(()) };
    let message = Message::NewDevice {
        display_name: owner.display_name,
        source: notice::source(origin, owner.now),
    };
    outbox::enqueue(connection, sealer, Some(user), &owner.email, &message).await
}
