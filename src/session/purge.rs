//! Deletes expired sessions in small batches, found by an index for this purpose. `purge_after` is rounded down
//! to the hour. An hour is purged when it is over and all its rows have expired, because a batch in the current
//! hour would read its live rows. Only one server per database purges at a time, no live session is deleted, and
//! no other transaction waits for long. The end of each session is recorded in the audit log in the same
//! transaction.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgPool;

use super::revoke::Cause;
use crate::audit::{Origin, delete_sessions};
use crate::db::{self, Batch};

/// Rows per statement at full pace. The statement is short enough not to delay a sign-in.
const BATCH_SIZE: i64 = 5000;
/// Rows per statement at gentle pace: a few milliseconds of one core.
const GENTLE_BATCH_SIZE: i64 = 250;
/// At gentle pace, the pause after a batch is this many times the duration of the batch: the purge uses a
/// twentieth of one core and deletes some hundred rows per second. With half of a core, the p99 of pages on
/// two cores was measured at 3.7 times its value without a purge.
const GENTLE_PAUSE_FACTOR: u32 = 19;
/// The key of the advisory lock of the purge ("frontdsk" in ASCII).
const LOCK: i64 = 0x6672_6f6e_7464_736b;

/// How much of the database's time a run may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A twentieth, so that requests are not slowed down.
    Gentle,
    /// All of it: an operator waits for the result.
    Full,
}

impl Pace {
    fn batch_size(self) -> i64 {
        match self {
            Pace::Gentle => GENTLE_BATCH_SIZE,
            Pace::Full => BATCH_SIZE,
        }
    }
}

/// The result of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Rows deleted.
    pub rows: u64,
    /// The duration of the run.
    pub took: Duration,
    /// Another server is purging at the moment, so this run stopped.
    pub is_running_elsewhere: bool,
}

/// Totals of the runs of this process, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Rows deleted.
    pub rows: AtomicU64,
    /// Runs that completed.
    pub runs: AtomicU64,
    /// Runs that failed. The next run tries again.
    pub failures: AtomicU64,
    /// The duration of all runs in milliseconds.
    pub milliseconds: AtomicU64,
}

impl Counters {
    /// Adds the rows of a batch. Called after each batch, because a run may take long, and may fail or be
    /// aborted later.
    pub(super) fn count_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Adds a run, without its rows.
    pub(super) fn count_run(&self, run: &sqlx::Result<Purged>, took: Duration) {
        let counter = if run.is_ok() { &self.runs } else { &self.failures };
        counter.fetch_add(1, Ordering::Relaxed);
        self.milliseconds.fetch_add(took.as_millis() as u64, Ordering::Relaxed);
    }
}

/// Deletes expired sessions, batch by batch, until a batch is not full. Calls `progress` after each batch
/// with the number of rows that the run has deleted so far.
pub async fn run_once(
    pool: &PgPool,
    pace: Pace,
    mut progress: impl FnMut(u64),
) -> sqlx::Result<Purged> {
    let started_at = Instant::now();
    let (mut purged, mut batch) = (Purged::default(), Batch::of(pace.batch_size()));
    loop {
        let batch_started = Instant::now();
        let may_be_more = match delete_batch(pool, batch).await {
            Ok(None) => {
                purged.is_running_elsewhere = true;
                false
            }
            Ok(Some(deleted)) => {
                purged.rows += deleted;
                progress(purged.rows);
                batch.grow(deleted)
            }
            Err(error) if batch.shrink(&error) => {
                let what = "an expired session cannot be deleted; the others are";
                db::log_failure(what, &error.into());
                true
            }
            Err(error) => return Err(error),
        };
        if !may_be_more {
            purged.took = started_at.elapsed();
            return Ok(purged);
        }
        if pace == Pace::Gentle {
            tokio::time::sleep(GENTLE_PAUSE_FACTOR * batch_started.elapsed()).await;
        }
    }
}

/// Counts the sessions that a run would delete.
pub async fn count_expired(pool: &PgPool) -> sqlx::Result<i64> {
    db::long_transaction(pool, |connection| {
        Box::pin(
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM sessions WHERE purge_after <= now() - interval '1 hour' AND expires_at <= now()"#
            )
            .fetch_one(connection),
        )
    })
    .await
}

/// Deletes one batch. `None`: another server is purging.
async fn delete_batch(pool: &PgPool, batch: Batch) -> sqlx::Result<Option<u64>> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            sqlx::query!("SET LOCAL lock_timeout = '500ms'").execute(&mut *connection).await?;
            let has_lock =
                sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "mine!""#, LOCK)
                    .fetch_one(&mut *connection)
                    .await?;
            if !has_lock {
                return Ok(None);
            }
            // SKIP LOCKED skips a row that another transaction is extending, and the outer predicate checks
            // the row again: without both, a session that was extended meanwhile would be deleted.
            let expired = delete_sessions!(
                r#"
                DELETE FROM sessions
                 WHERE token_digest IN (
                       SELECT token_digest
                         FROM sessions
                        WHERE purge_after <= now() - interval '1 hour'
                          AND expires_at <= now()
                        ORDER BY purge_after
                        LIMIT $7 OFFSET $8
                          FOR UPDATE SKIP LOCKED)
                   AND expires_at <= now()
                RETURNING id, user_id, token_digest, user_agent, expires_at
                "#,
                Cause::Expired,
                Origin::system(),
                batch.limit(),
                batch.skipped(),
            );
            Ok(Some(expired.fetch_one(connection).await?.expired.unsigned_abs()))
        })
    })
    .await
}
