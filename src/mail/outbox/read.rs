//! Reads the rows of `mail_outbox` for operators, the metrics and the development mailbox.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db;

/// Counts the mails that wait to be sent.
pub async fn count_waiting(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM mail_outbox WHERE state = 'waiting'"#)
        .fetch_one(db::on(pool))
        .await
}

/// The mails that wait for a key that is not one of `key_ids`: the identifier of each such key, and how many.
pub async fn count_unreadable(
    pool: &PgPool,
    key_ids: &[String],
) -> sqlx::Result<Vec<(String, i64)>> {
    let found = sqlx::query!(
        r#"
        SELECT sealed_with AS "key!", count(*) AS "count!"
          FROM mail_outbox
         WHERE state = 'waiting'
           AND sealed_with <> ALL($1)
         GROUP BY sealed_with
        "#,
        key_ids,
    )
    .fetch_all(db::on(pool))
    .await?;
    Ok(found.into_iter().map(|row| (row.key, row.count)).collect())
}

/// The delivery state of a mail, without its content.
pub struct OutboxEntry {
    /// The id of the row.
    pub id: Uuid,
    /// [`Message::kind`](crate::mail::Message::kind).
    pub kind: String,
    /// The email it is sent to.
    pub recipient: String,
    /// `waiting`, `sent`, `kept` or `failed`.
    pub state: String,
    /// How many attempts were started.
    pub attempts: i32,
    /// When it was inserted.
    pub created_at: OffsetDateTime,
    /// When it is due; while it is leased, when the lease expires.
    pub next_attempt_at: OffsetDateTime,
    /// When it was sent, kept or marked as failed.
    pub finished_at: Option<OffsetDateTime>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Lists up to `limit` mails, newest first; only those in `state` if it is given. `after` is the last mail of
/// the previous page.
pub async fn list(
    pool: &PgPool,
    state: Option<&str>,
    after: Option<&OutboxEntry>,
    limit: i64,
) -> sqlx::Result<Vec<OutboxEntry>> {
    sqlx::query_as!(
        OutboxEntry,
        r#"
        SELECT id, kind, recipient, state, attempts, created_at, next_attempt_at, finished_at, last_error
          FROM mail_outbox
         WHERE ($1::text IS NULL OR state = $1)
           AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
         ORDER BY created_at DESC, id DESC
         LIMIT $4
        "#,
        state,
        after.map(|mail| mail.created_at),
        after.map(|mail| mail.id),
        limit,
    )
    .fetch_all(db::on(pool))
    .await
}

/// A mail that was kept instead of sent.
pub struct KeptMail {
    /// The id of the row.
    pub id: Uuid,
    /// The email it is addressed to.
    pub recipient: String,
    /// The encrypted message.
    pub sealed: Option<Vec<u8>>,
    /// When it was inserted.
    pub created_at: OffsetDateTime,
    /// How many notices it stands for, if a limit held it back.
    pub combined: Option<i32>,
    /// The language of its recipient, as a language tag (BCP 47).
    pub language: String,
}

/// Lists up to `limit` kept mails, newest first, or the one with `id`. Includes waiting mails, which are
/// marked as kept when they are due.
pub async fn list_kept(pool: &PgPool, id: Option<Uuid>, limit: i64) -> sqlx::Result<Vec<KeptMail>> {
    sqlx::query_as!(
        KeptMail,
        r#"
        SELECT id, recipient, sealed, created_at, combined, language
          FROM mail_outbox
         WHERE state IN ('kept', 'waiting')
           AND ($1::uuid IS NULL OR id = $1)
         ORDER BY created_at DESC, id DESC
         LIMIT $2
        "#,
        id,
        limit,
    )
    .fetch_all(db::on(pool))
    .await
}
