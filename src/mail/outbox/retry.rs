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
}

/// Queues a mail that failed, was kept, or waits for a later attempt, for immediate delivery.
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
    .execute(db::on(pool))
    .await?;
    if retried.rows_affected() > 0 {
        return Ok(RetryOutcome::Done);
    }
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM mail_outbox WHERE id = $1) AS "found!""#,
        id
    )
    .fetch_one(db::on(pool))
    .await?;
    Ok(if found { RetryOutcome::NotNeeded } else { RetryOutcome::NotFound })
}

/// Queues all mail in `state` (`failed` or `kept`) for immediate delivery. Returns how many.
pub async fn retry_all(pool: &PgPool, state: &str) -> sqlx::Result<u64> {
    let retried = sqlx::query!(
        r#"
        UPDATE mail_outbox
           SET state = 'waiting', attempts = 0, next_attempt_at = now(), finished_at = NULL
         WHERE id = ANY(ARRAY(
               SELECT id
                 FROM mail_outbox
                WHERE state = $1
                  AND state IN ('failed', 'kept')
                  AND sealed IS NOT NULL
                ORDER BY id
                  FOR UPDATE))
        "#,
        state,
    )
    .execute(db::on(pool))
    .await?;
    Ok(retried.rows_affected())
}
