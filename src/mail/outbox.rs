//! Rows of `mail_outbox`, which only this file writes. Sending is a lease: whoever raises `attempts` may send until
//! `next_attempt_at`, and only they may say that it failed.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Message;
use crate::crypto::seal::Sealer;
use crate::id::UserId;

/// Without a word from the server that sends a mail, another may take it over after this long.
pub const LEASE: Duration = Duration::from_secs(60);
/// In bytes; the table takes no more.
const LONGEST_ERROR: usize = 1000;

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
        user as Option<UserId>,
        recipient,
        sealer.seal(&purpose(id), &plain),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes back and forgets all mail about the account of `user` and all mail to `recipient`, sent or not.
pub async fn delete_for_user(
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
        user as UserId,
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

/// The message of a row; `None` when it was sealed with a key that is no longer set, or for another row.
pub fn open(sealer: &Sealer, id: Uuid, sealed: &[u8]) -> Option<Message> {
    serde_json::from_slice(&sealer.open(&purpose(id), sealed)?).ok()
}

/// A mail that this server may send just now.
pub struct LeasedMail {
    /// Which.
    pub id: Uuid,
    /// What kind of message.
    pub kind: String,
    /// To whom.
    pub recipient: String,
    /// What.
    pub sealed: Option<Vec<u8>>,
    /// How often sending was begun, this time included.
    pub attempts: i32,
    /// When it was put here.
    pub created_at: OffsetDateTime,
}

/// Takes up to `most` mails that are due; other servers pass over them.
pub async fn lease(pool: &PgPool, most: i64) -> sqlx::Result<Vec<LeasedMail>> {
    sqlx::query_as!(
        LeasedMail,
        r#"
          WITH due AS MATERIALIZED (
               SELECT id
                 FROM mail_outbox
                WHERE state = 'waiting'
                  AND next_attempt_at <= now()
                ORDER BY next_attempt_at
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        UPDATE mail_outbox AS o
           SET attempts = o.attempts + 1,
               next_attempt_at = now() + $2
          FROM due
         WHERE o.id = due.id
        RETURNING o.id, o.kind, o.recipient, o.sealed, o.attempts, o.created_at
        "#,
        most,
        interval(LEASE),
    )
    .fetch_all(pool)
    .await
}

/// Still at it.
pub async fn renew_lease(pool: &PgPool, lease: &LeasedMail) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE mail_outbox
           SET next_attempt_at = now() + $3
         WHERE id = $1
           AND attempts = $2
           AND state = 'waiting'
        "#,
        lease.id,
        lease.attempts,
        interval(LEASE),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// It is sent; what it said is forgotten. True whoever has the lease by now.
pub async fn mark_sent(pool: &PgPool, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE mail_outbox
           SET state = 'sent', sealed = NULL, finished_at = now(), last_error = NULL
         WHERE id = $1
           AND state <> 'sent'
        "#,
        id,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Not now; again after `wait`.
pub async fn reschedule(
    pool: &PgPool,
    lease: &LeasedMail,
    wait: Duration,
    error: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE mail_outbox
           SET next_attempt_at = now() + $3, last_error = $4
         WHERE id = $1
           AND attempts = $2
           AND state = 'waiting'
        "#,
        lease.id,
        lease.attempts,
        interval(wait),
        shortened(error),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Never. What it says stays, for `frontdesk mail retry`.
pub async fn mark_failed(pool: &PgPool, lease: &LeasedMail, error: &str) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE mail_outbox
           SET state = 'failed', finished_at = now(), last_error = $3
         WHERE id = $1
           AND attempts = $2
           AND state = 'waiting'
        "#,
        lease.id,
        lease.attempts,
        shortened(error),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Keeps what waits, where no mail is sent; answers how many.
pub async fn mark_kept(pool: &PgPool) -> sqlx::Result<u64> {
    let kept = sqlx::query!(
        r#"
          WITH due AS MATERIALIZED (
               SELECT id
                 FROM mail_outbox
                WHERE state = 'waiting'
                LIMIT 1000
                  FOR UPDATE SKIP LOCKED)
        UPDATE mail_outbox AS o
           SET state = 'kept', finished_at = now()
          FROM due
         WHERE o.id = due.id
        "#,
    )
    .execute(pool)
    .await?;
    Ok(kept.rows_affected())
}

/// How many wait to be sent.
pub async fn count_waiting(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM mail_outbox WHERE state = 'waiting'"#)
        .fetch_one(pool)
        .await
}

/// What became of a mail. Says nothing of what is in it.
pub struct OutboxEntry {
    /// Which.
    pub id: Uuid,
    /// What kind of message.
    pub kind: String,
    /// To whom.
    pub recipient: String,
    /// waiting, sent, kept, failed.
    pub state: String,
    /// How often sending was begun.
    pub attempts: i32,
    /// When it was put here.
    pub created_at: OffsetDateTime,
    /// When it is tried next.
    pub next_attempt_at: OffsetDateTime,
    /// When it was sent, kept or given up.
    pub finished_at: Option<OffsetDateTime>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// The newest first, at most `limit`; of one state when it is given.
pub async fn list(
    pool: &PgPool,
    state: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<OutboxEntry>> {
    sqlx::query_as!(
        OutboxEntry,
        r#"
        SELECT id, kind, recipient, state, attempts, created_at, next_attempt_at, finished_at, last_error
          FROM mail_outbox
         WHERE $1::text IS NULL OR state = $1
         ORDER BY created_at DESC, id DESC
         LIMIT $2
        "#,
        state,
        limit,
    )
    .fetch_all(pool)
    .await
}

/// A mail that went nowhere.
pub struct KeptMail {
    /// Which.
    pub id: Uuid,
    /// To whom.
    pub recipient: String,
    /// What.
    pub sealed: Option<Vec<u8>>,
    /// When it was put here.
    pub created_at: OffsetDateTime,
}

/// What is kept, or will be in a moment, the newest first; one when `id` is given.
pub async fn list_kept(pool: &PgPool, id: Option<Uuid>, limit: i64) -> sqlx::Result<Vec<KeptMail>> {
    sqlx::query_as!(
        KeptMail,
        r#"
        SELECT id, recipient, sealed, created_at
          FROM mail_outbox
         WHERE state IN ('kept', 'waiting')
           AND ($1::uuid IS NULL OR id = $1)
         ORDER BY created_at DESC, id DESC
         LIMIT $2
        "#,
        id,
        limit,
    )
    .fetch_all(pool)
    .await
}

/// What `retry` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOutcome {
    /// It is tried anew, from the first attempt on.
    Done,
    /// There is none.
    NotFound,
    /// It is sent, or being sent just now.
    NotNeeded,
}

/// Sends one mail that failed, was kept, or waits for a later attempt.
pub async fn retry(pool: &PgPool, id: Uuid) -> sqlx::Result<RetryOutcome> {
    let retried = sqlx::query!(
        r#"
        UPDATE mail_outbox
           SET state = 'waiting', attempts = 0, next_attempt_at = now(), finished_at = NULL
         WHERE id = $1
           AND sealed IS NOT NULL
           AND (state IN ('failed', 'kept')
                OR state = 'waiting' AND next_attempt_at > now() + $2)
        "#,
        id,
        interval(LEASE),
    )
    .execute(pool)
    .await?;
    if retried.rows_affected() > 0 {
        return Ok(RetryOutcome::Done);
    }
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM mail_outbox WHERE id = $1) AS "found!""#,
        id
    )
    .fetch_one(pool)
    .await?;
    Ok(if found { RetryOutcome::NotNeeded } else { RetryOutcome::NotFound })
}

/// Sends all that failed; answers how many there are.
pub async fn retry_failed(pool: &PgPool) -> sqlx::Result<u64> {
    let retried = sqlx::query!(
        r#"
        UPDATE mail_outbox
           SET state = 'waiting', attempts = 0, next_attempt_at = now(), finished_at = NULL
         WHERE state = 'failed'
           AND sealed IS NOT NULL
        "#,
    )
    .execute(pool)
    .await?;
    Ok(retried.rows_affected())
}

fn interval(span: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: span.as_micros() as i64 }
}

/// On one line, and not too long.
fn shortened(error: &str) -> String {
    let mut short = String::new();
    for letter in error.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
        if short.len() + letter.len_utf8() > LONGEST_ERROR {
            break;
        }
        short.push(letter);
    }
    short
}
