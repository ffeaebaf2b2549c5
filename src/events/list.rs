//! Lists and retries the events of `event_deliveries`, for operators.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db;

/// An event for a hook, without its details.
pub struct Delivery {
    /// Identifies it.
    pub id: Uuid,
    /// [`After::as_str`](super::After::as_str).
    pub event: String,
    /// The path of the function.
    pub hook: String,
    /// The account.
    pub user_id: Uuid,
    /// `waiting`, `delivered` or `failed`.
    pub state: String,
    /// How many attempts were started.
    pub attempts: i32,
    /// When it happened.
    pub created_at: OffsetDateTime,
    /// When it is due; during an attempt, when its lease expires.
    pub next_attempt_at: OffsetDateTime,
    /// When it was delivered or has failed.
    pub finished_at: Option<OffsetDateTime>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Lists up to `limit` events, newest first; only those in `state` if it is given. `before` is the last one of the
/// previous page.
pub async fn list(
    pool: &PgPool,
    state: Option<&str>,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Delivery>> {
    sqlx::query_as!(
        Delivery,
        r#"
        SELECT id, event, hook, user_id, state, attempts, created_at, next_attempt_at, finished_at, last_error
          FROM event_deliveries
         WHERE ($1::text IS NULL OR state = $1)
           AND ($2::uuid IS NULL OR id < $2)
         ORDER BY id DESC
         LIMIT $3
        "#,
        state,
        before,
        limit,
    )
    .fetch_all(db::on(pool))
    .await
}

/// How many events have failed, by hook, with the last error of each.
pub async fn count_failed(pool: &PgPool) -> sqlx::Result<Vec<(String, i64, String)>> {
    let failed = sqlx::query!(
        r#"
        SELECT event || ' ' || hook AS "hook!", count(*) AS "count!",
               (array_agg(last_error ORDER BY finished_at DESC))[1] AS last_error
          FROM event_deliveries
         WHERE state = 'failed'
         GROUP BY event, hook
         ORDER BY event, hook
        "#,
    )
    .fetch_all(db::on(pool))
    .await?;
    Ok(failed
        .into_iter()
        .map(|row| (row.hook, row.count, row.last_error.unwrap_or_default()))
        .collect())
}

/// Queues a failed event for another three days, or all of them. Returns how many.
pub async fn retry(pool: &PgPool, id: Option<Uuid>) -> sqlx::Result<u64> {
    let retried = sqlx::query!(
        r#"
        UPDATE event_deliveries
           SET state = 'waiting', attempts = 0, next_attempt_at = now(), finished_at = NULL,
               retry_until = now() + interval '3 days'
         WHERE state = 'failed'
           AND ($1::uuid IS NULL OR id = $1)
        "#,
        id,
    )
    .execute(db::on(pool))
    .await?;
    Ok(retried.rows_affected())
}
