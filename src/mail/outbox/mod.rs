//! The rows of `mail_outbox`, which only this module writes: `enqueue.rs` inserts them, this file changes them for
//! the delivery job, `retry.rs` for operators, and `owner.rs` deletes those of an account. A server leases a mail by incrementing `attempts`; the lease expires at `next_attempt_at`, and then
//! any server may reclaim the mail. Only the holder of the current lease may reschedule the mail or mark it as
//! failed.

mod enqueue;
mod owner;
mod read;
mod retry;

use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Message;
use super::rules::LONGEST_HOLD;
use crate::crypto::seal::Sealer;
use crate::db::{self, Batch};
use crate::peers;
pub use enqueue::{Enqueued, enqueue, purge_limits};
pub use owner::{assign_to_user, delete_for_user};
pub use read::{KeptMail, OutboxEntry, count_unreadable, count_waiting, list, list_kept};
pub use retry::{RetriedMail, RetryOutcome, retry, retry_all};

/// How long a lease lasts unless it is renewed.
pub const LEASE: Duration = Duration::from_secs(60);
/// How long a mail waits for a server that has its key. As long as the retries of `delivery.rs` take.
const UNREADABLE_FOR: Duration = Duration::from_secs(2 * 24 * 3_600);
/// [`OutboxEntry::last_error`] of a mail that waits for a server that has its key.
const UNREADABLE: &str = "no running server has the key that it is encrypted with; add that key at the end of FRONTDESK_SECRET_KEYS";
/// [`OutboxEntry::last_error`] of a mail that was not sent in time.
const EXPIRED: &str = "not sent in time: its link has expired, or it is out of date";
/// In bytes. A CHECK of the table allows 1024.
const MAX_ERROR_LENGTH: usize = 1000;
/// In characters, each of which takes four bytes at most.
const MAX_ERROR_CHARACTERS: i32 = 250;

/// Deletes up to `at_most` mails in the caller's transaction, without the first `skipped` ones: those sent or failed
/// more than 30 days ago, and those kept (no mail server is configured) more than 7 days ago.
pub async fn purge(connection: &mut PgConnection, at_most: i64, skipped: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM mail_outbox
         WHERE id IN (
               SELECT id
                 FROM mail_outbox
                WHERE finished_at <= now() - interval '7 days'
                  AND (state = 'kept' OR finished_at <= now() - interval '30 days')
                ORDER BY finished_at
                LIMIT $1 OFFSET $2
                  FOR UPDATE SKIP LOCKED)
        "#,
        at_most,
        skipped,
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// Binds a sealed message to its row.
pub(super) fn purpose(id: Uuid) -> String {
    format!("mail_outbox:{id}")
}

/// Decrypts the message of a row. `None` if its key is no longer configured or it was sealed for another row.
pub fn open(sealer: &Sealer, id: Uuid, sealed: &[u8]) -> Option<Message> {
    serde_json::from_slice(&sealer.open(&purpose(id), sealed)?).ok()
}

/// A mail that this server has leased.
pub struct LeasedMail {
    /// The id of the row.
    pub id: Uuid,
    /// [`Message::kind`].
    pub kind: String,
    /// The email it is sent to.
    pub recipient: String,
    /// The encrypted message; `None` after it was sent.
    pub sealed: Option<Vec<u8>>,
    /// How many attempts were started, including this one.
    pub attempts: i32,
    /// When it was inserted.
    pub created_at: OffsetDateTime,
    /// Whether its recipient is suppressed, so that it must not be sent.
    pub is_suppressed: bool,
    /// How many notices it stands for, if a limit held it back.
    pub combined: Option<i32>,
    /// The language of its recipient, as a language tag (BCP 47).
    pub language: String,
}

/// The mails that wait for their first attempt, or those that wait for a further one. Each has its own
/// capacity, so that mails whose attempts take long do not delay new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// No attempt was started yet.
    New,
    /// An attempt failed or did not finish.
    Retry,
}

/// Leases the mails of `batch`: those of `lane` that are due and sealed with one of `key_ids`. Other servers skip
/// them. A mail that is sealed with another key is left to a server that has it; see [`mark_unreadable`].
pub async fn lease(
    pool: &PgPool,
    lane: Lane,
    key_ids: &[String],
    batch: Batch,
) -> sqlx::Result<Vec<LeasedMail>> {
    sqlx::query_as!(
        LeasedMail,
        r#"
          WITH due AS MATERIALIZED (
               SELECT id
                 FROM mail_outbox
                WHERE state = 'waiting'
                  AND next_attempt_at <= now()
                  AND (not_after IS NULL OR not_after > now())
                  AND (sealed_with IS NULL OR sealed_with = ANY($3))
                  AND (attempts = 0) = $4
                ORDER BY next_attempt_at
                LIMIT $1 OFFSET $5
                  FOR UPDATE SKIP LOCKED)
        UPDATE mail_outbox AS o
           SET attempts = o.attempts + 1,
               next_attempt_at = now() + $2
          FROM due
         WHERE o.id = due.id
        RETURNING o.id, o.kind, o.recipient, o.sealed, o.attempts, o.created_at, o.combined, o.language,
                  EXISTS (SELECT
                            FROM suppressed_recipients s
                           WHERE s.email_canonical = o.recipient_canonical
                             AND s.suppressed_until > now()) AS "is_suppressed!"
        "#,
        batch.limit(),
        interval(LEASE),
        key_ids,
        lane == Lane::New,
        batch.skipped(),
    )
    .fetch_all(db::on(pool))
    .await
}

/// Handles up to 1000 mails that are due and that no running server can open, because none has their key. At first
/// such a mail is noted, which starts its wait for a server that has the key; after two days (`UNREADABLE_FOR`) it fails.
/// Returns how many were noted and how many have failed.
pub async fn mark_unreadable(pool: &PgPool, key_ids: &[String]) -> sqlx::Result<(i64, i64)> {
    let marked = sqlx::query!(
        r#"
          WITH unreadable AS MATERIALIZED (
               SELECT o.id, o.last_error IS NOT DISTINCT FROM $2 AS was_noted
                 FROM mail_outbox AS o
                WHERE o.state = 'waiting'
                  AND o.next_attempt_at <= now()
                  AND o.sealed_with <> ALL($1)
                  AND (o.last_error IS DISTINCT FROM $2 OR o.next_attempt_at <= now() - $3::interval)
                  AND NOT EXISTS (
                      SELECT
                        FROM servers s
                       WHERE o.sealed_with = ANY(s.key_ids)
                         AND s.last_seen_at > now() - make_interval(secs => $4))
                LIMIT 1000
                  FOR UPDATE OF o SKIP LOCKED),
               marked AS (
        UPDATE mail_outbox AS o
           SET state = CASE WHEN was_noted THEN 'failed' ELSE o.state END,
               finished_at = CASE WHEN was_noted THEN now() END,
               next_attempt_at = CASE WHEN was_noted THEN o.next_attempt_at ELSE now() END,
               last_error = $2
          FROM unreadable AS u
         WHERE o.id = u.id
        RETURNING u.was_noted)
        SELECT count(*) FILTER (WHERE NOT was_noted) AS "noted!",
               count(*) FILTER (WHERE was_noted) AS "failed!"
          FROM marked
        "#,
        key_ids,
        UNREADABLE,
        interval(UNREADABLE_FOR),
        peers::STOPPED_AFTER,
    )
    .fetch_one(db::on(pool))
    .await?;
    Ok((marked.noted, marked.failed))
}

/// Makes mails due whose next attempt is further ahead than it can have been scheduled, because PostgreSQL's
/// clock was set back since. `longest` has the longest wait after each number of attempts, from none. Returns
/// how many.
pub async fn correct_times(pool: &PgPool, longest: &[Duration]) -> sqlx::Result<u64> {
    let corrected = sqlx::query!(
        r#"
          WITH wrong AS MATERIALIZED (
               SELECT id
                 FROM mail_outbox
                WHERE state = 'waiting'
                  AND next_attempt_at > now()
                  AND next_attempt_at > now() + make_interval(
                          secs => CASE WHEN attempts = 0 AND combined IS NOT NULL THEN $2
                                       ELSE ($1::float8[])[least(attempts + 1, array_length($1, 1))]
                                  END)
                LIMIT 1000
                  FOR UPDATE SKIP LOCKED)
        UPDATE mail_outbox AS o
           SET next_attempt_at = now()
          FROM wrong
         WHERE o.id = wrong.id
        "#,
        &longest.iter().map(Duration::as_secs_f64).collect::<Vec<_>>(),
        LONGEST_HOLD.as_secs_f64(),
    )
    .execute(db::on(pool))
    .await?;
    Ok(corrected.rows_affected())
}

/// Extends the lease by [`LEASE`] from now.
pub async fn renew_lease(pool: &PgPool, mail: &LeasedMail) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE mail_outbox
           SET next_attempt_at = now() + $3
         WHERE id = $1
           AND attempts = $2
           AND state = 'waiting'
        "#,
        mail.id,
        mail.attempts,
        interval(LEASE),
    )
    .execute(db::on(pool))
    .await?;
    Ok(())
}

/// Marks the mail as sent and deletes its message. Applies even if another server has reclaimed the mail. A mail
/// about a deleted account is deleted: its recipient is the last trace of the account.
pub async fn mark_sent(pool: &PgPool, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        WITH deleted AS (
             DELETE FROM mail_outbox
              WHERE id = $1
                AND kind = $2)
        UPDATE mail_outbox
           SET state = 'sent', sealed = NULL, finished_at = now(), last_error = NULL
         WHERE id = $1
           AND kind <> $2
           AND state <> 'sent'
        "#,
        id,
        Message::ACCOUNT_DELETED,
    )
    .execute(db::on(pool))
    .await?;
    Ok(())
}

/// Ends the lease; the mail is due again after `wait`.
pub async fn reschedule(
    pool: &PgPool,
    mail: &LeasedMail,
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
        mail.id,
        mail.attempts,
        interval(wait),
        truncate_error(error),
    )
    .execute(db::on(pool))
    .await?;
    Ok(())
}

/// Ends the lease; the mail is not retried automatically. The message is kept for `frontdesk mail retry`.
pub async fn mark_failed(pool: &PgPool, mail: &LeasedMail, error: &str) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE mail_outbox
           SET state = 'failed', finished_at = now(), last_error = $3
         WHERE id = $1
           AND attempts = $2
           AND state = 'waiting'
        "#,
        mail.id,
        mail.attempts,
        truncate_error(error),
    )
    .execute(db::on(pool))
    .await?;
    Ok(())
}

/// Marks up to 1000 mails as failed that are no longer useful: the link in them has expired, or the notice is out
/// of date. Returns how many.
pub async fn mark_expired(pool: &PgPool) -> sqlx::Result<u64> {
    let expired = sqlx::query!(
        r#"
          WITH late AS MATERIALIZED (
               SELECT id
                 FROM mail_outbox
                WHERE state = 'waiting'
                  AND next_attempt_at <= now()
                  AND not_after <= now()
                LIMIT 1000
                  FOR UPDATE SKIP LOCKED)
        UPDATE mail_outbox AS o
           SET state = 'failed',
               finished_at = now(),
               last_error = left(concat_ws('; last error: ', $1::text, o.last_error), $2)
          FROM late
         WHERE o.id = late.id
        "#,
        EXPIRED,
        MAX_ERROR_CHARACTERS,
    )
    .execute(db::on(pool))
    .await?;
    Ok(expired.rows_affected())
}

/// Marks up to 1000 mails that are due as kept, where no mail server is configured. Returns how many.
pub async fn mark_kept(pool: &PgPool) -> sqlx::Result<u64> {
    let kept = sqlx::query!(
        r#"
          WITH due AS MATERIALIZED (
               SELECT id
                 FROM mail_outbox
                WHERE state = 'waiting'
                  AND next_attempt_at <= now()
                LIMIT 1000
                  FOR UPDATE SKIP LOCKED)
        UPDATE mail_outbox AS o
           SET state = 'kept', finished_at = now()
          FROM due
         WHERE o.id = due.id
        "#,
    )
    .execute(db::on(pool))
    .await?;
    Ok(kept.rows_affected())
}

fn interval(span: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: span.as_micros() as i64 }
}

/// The error on one line, cut to [`MAX_ERROR_LENGTH`].
fn truncate_error(error: &str) -> String {
    let mut short = String::new();
    for character in
        error.chars().map(|character| if character.is_control() { ' ' } else { character })
    {
        if short.len() + character.len_utf8() > MAX_ERROR_LENGTH {
            break;
        }
        short.push(character);
    }
    short
}
