//! Rows of `mail_outbox`, which only this file writes.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Message;
use crate::id::UserId;
use crate::seal::Sealer;

/// Puts `message` into the outbox in the caller's transaction. `user` is whose account it is about: their mail that
/// still waits goes when the account goes. `recipient` is a stored address, never one that was only typed just now,
/// except to show that it can be read.
pub async fn enqueue(
    connection: &mut PgConnection,
    sealer: &Sealer,
    user: Option<UserId>,
    recipient: &str,
    message: &Message,
) -> sqlx::Result<()> {
    let id = Uuid::now_v7();
    let plain = serde_json::to_vec(message).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query!(
        r#"
        INSERT INTO mail_outbox (id, kind, user_id, recipient, sealed)
        VALUES ($1, $2, $3, $4, $5)
        "#,
        id,
        message.kind(),
        user.map(UserId::uuid),
        recipient,
        sealer.seal(&purpose(id), &plain),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A sealed message opens for its own row only.
fn purpose(id: Uuid) -> String {
    format!("mail_outbox:{id}")
}
