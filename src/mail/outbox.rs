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

/// Takes back and forgets all mail about the account of `user` and all mail to `recipient`, sent or not.
pub async fn forget(
    connection: &mut PgConnection,
    user: UserId,
    recipient: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM mail_outbox
         WHERE user_id = $1
            OR lower(recipient) = lower($2)
        "#,
        user.uuid(),
        recipient,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets mail that was finished 30 days ago, and mail that was only kept (no mail server is set) 7 days ago; a bounded
/// batch in the caller's transaction.
pub async fn purge(connection: &mut PgConnection, at_most: i64) -> sqlx::Result<u64> {
    let gone = sqlx::query!(
        r#"
        DELETE FROM mail_outbox
         WHERE id IN (
               SELECT id
                 FROM mail_outbox
                WHERE finished_at <= now() - interval '7 days'
                  AND (state = 'kept' OR finished_at <= now() - interval '30 days')
                ORDER BY finished_at
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        "#,
        at_most,
    )
    .execute(connection)
    .await?;
    Ok(gone.rows_affected())
}

/// A sealed message opens for its own row only.
fn purpose(id: Uuid) -> String {
    format!("mail_outbox:{id}")
}
