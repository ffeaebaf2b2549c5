//! What operators do with mail that was not sent: retry it.

use sqlx::PgPool;
use uuid::Uuid;

use super::{LEASE, interval};
use crate::db;

/// The result of [`retry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOutcome {
    /// The mail is due now, and its attempt counter is reset.
    Done,
    /// There is no such mail.
    NotFound,
    /// The mail has been sent or is being sent.
    NotNeeded,
    /// The mail is no longer useful: its link has expired, or it is out of date. Nothing was changed.
    Expired,
}

/// The result of [`retry_all`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetriedMail {
    /// How many mails are due now.
    pub queued: i64,
    /// How many were left as they are, because they are no longer useful.
    pub expired: i64,
}

/// Queues a mail that failed, was kept, or waits for a later attempt, for immediate delivery.
pub async fn retry(pool: &PgPool, id: Uuid) -> sqlx::Result<RetryOutcome> {
    let retried = sqlx::query!(
        r#"
        UPDATE mail_outbox
           SET state = 'waiting', attempts = 0, next_attempt_at = now(), finished_at = NULL
         WHERE id = $1
           AND sealed IS NOT NULL
           AND (not_after IS NULL OR not_after > now())
           AND (state IN ('failed', 'kept')
                OR state = 'waiting' AND next_attempt_at > now() + $2)
        "#,
        id,
        interval(LEASE),
    )
    .execute(db::on(pool))
    .await?;
    if retried.rows_affected() > 0 {
        return Ok(RetryOutcome::Done);
    }
    let is_expired = sqlx::query_scalar!(
        r#"
        SELECT coalesce(sealed IS NOT NULL AND not_after <= now(), false) AS "is_expired!"
          FROM mail_outbox
         WHERE id = $1
        "#,
        id
    )
    .fetch_optional(db::on(pool))
    .await?;
    Ok(match is_expired {
        None => RetryOutcome::NotFound,
        Some(true) => RetryOutcome::Expired,
        Some(false) => RetryOutcome::NotNeeded,
    })
}

/// Queues all mail in `state` (`failed` or `kept`) that is still useful for immediate delivery.
pub async fn retry_all(pool: &PgPool, state: &str) -> sqlx::Result<RetriedMail> {
    sqlx::query_as!(
        RetriedMail,
        r#"
          WITH unsent AS MATERIALIZED (
               SELECT id, coalesce(not_after <= now(), false) AS is_expired
                 FROM mail_outbox
                WHERE state = $1
                  AND state IN ('failed', 'kept')
                  AND sealed IS NOT NULL
                ORDER BY id
                  FOR UPDATE),
               queued AS (
        UPDATE mail_outbox
           SET state = 'waiting', attempts = 0, next_attempt_at = now(), finished_at = NULL
         WHERE id = ANY(ARRAY(SELECT id FROM unsent WHERE NOT is_expired)))
        SELECT count(*) FILTER (WHERE NOT is_expired) AS "queued!",
               count(*) FILTER (WHERE is_expired) AS "expired!"
          FROM unsent
        "#,
        state,
    )
    .fetch_one(db::on(pool))
    .await
}
