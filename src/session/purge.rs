//! Expired rows go away by themselves: small batches by the index made for it, one purger in the
//! cluster, never a live row, nobody waits.

use std::time::{Duration, Instant};

use sqlx::PgPool;

use crate::db;

/// Rows in one statement: short enough that no sign-in waits.
const BATCH: i64 = 5000;
/// Names this purge among PostgreSQL's advisory locks ("frontdsk" in ASCII).
const LOCK: i64 = 0x6672_6f6e_7464_736b;

/// How much of the database's time a run may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Half: after each batch it rests as long as the batch took, so that pages do not notice.
    Gentle,
    /// All: somebody is waiting for it.
    Full,
}

/// What one run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Rows deleted.
    pub rows: u64,
    /// Time it took.
    pub took: Duration,
    /// Another server is purging just now; it does the work.
    pub elsewhere: bool,
}

/// Deletes what has expired until a batch comes back short; `progress` hears the sum so far after each
/// batch.
pub async fn run_once(
    pool: &PgPool,
    pace: Pace,
    mut progress: impl FnMut(u64),
) -> sqlx::Result<Purged> {
    let began = Instant::now();
    let mut purged = Purged::default();
    loop {
        let batch_began = Instant::now();
        let deleted = batch(pool).await?;
        match deleted {
            None => purged.elsewhere = true,
            Some(deleted) => {
                purged.rows += deleted;
                progress(purged.rows);
            }
        }
        if deleted.is_none_or(|deleted| deleted < BATCH as u64) {
            purged.took = began.elapsed();
            return Ok(purged);
        }
        if pace == Pace::Gentle {
            tokio::time::sleep(batch_began.elapsed()).await;
        }
    }
}

/// How many rows wait to be deleted.
pub async fn count_expired(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM sessions WHERE purge_after <= now() AND expires_at <= now()"#
    )
    .fetch_one(pool)
    .await
}

async fn batch(pool: &PgPool) -> sqlx::Result<Option<u64>> {
    db::transaction(pool, |connection| {
        Box::pin(async move {
            sqlx::query!("SET LOCAL lock_timeout = '500ms'").execute(&mut *connection).await?;
            let mine =
                sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "mine!""#, LOCK)
                    .fetch_one(&mut *connection)
                    .await?;
            if !mine {
                return Ok(None);
            }
            // SKIP LOCKED passes over a row that somebody is extending just now, and the predicate is
            // repeated outside: without both, a row extended meanwhile would be deleted alive.
            let deleted = sqlx::query!(
                r#"
                DELETE FROM sessions
                 WHERE token_digest IN (
                       SELECT token_digest
                         FROM sessions
                        WHERE purge_after <= now()
                          AND expires_at <= now()
                        ORDER BY purge_after
                        LIMIT $1
                          FOR UPDATE SKIP LOCKED)
                   AND expires_at <= now()
                "#,
                BATCH,
            )
            .execute(&mut *connection)
            .await?;
            Ok(Some(deleted.rows_affected()))
        })
    })
    .await
}
