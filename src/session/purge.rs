//! Expired rows go away by themselves: small batches by the index made for it, one purger in the
//! cluster, never a live row, nobody waits. The trail gets their end in the same transaction.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::PgPool;

use super::revoke::Cause;
use crate::audit::{self, EventKind, Origin, SessionEvent};
use crate::db;

/// Rows in one statement at full pace: short enough that no sign-in waits.
const BATCH: i64 = 5000;
/// Rows in one statement beside pages: a few milliseconds of one core.
const GENTLE_BATCH: i64 = 250;
/// Beside pages it rests so many times as long as it worked: one twentieth of one core, some hundred rows a
/// second. With half of a core the p99 of pages on two cores was 3.7 times its quiet value.
const GENTLE_REST: u32 = 19;
/// Names this purge among PostgreSQL's advisory locks ("frontdsk" in ASCII).
const LOCK: i64 = 0x6672_6f6e_7464_736b;

/// How much of the database's time a run may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A twentieth, so that pages do not notice.
    Gentle,
    /// All: somebody is waiting for it.
    Full,
}

impl Pace {
    fn batch(self) -> i64 {
        match self {
            Pace::Gentle => GENTLE_BATCH,
            Pace::Full => BATCH,
        }
    }
}

/// What one run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Rows deleted.
    pub rows: u64,
    /// Time it took.
    pub took: Duration,
    /// Another server is purging just now; it does the work.
    pub is_running_elsewhere: bool,
}

/// What the runs of this process did so far, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Rows deleted.
    pub rows: AtomicU64,
    /// Runs that came to their end.
    pub runs: AtomicU64,
    /// Runs that failed; the next one tries again.
    pub failures: AtomicU64,
    /// Milliseconds that the runs took.
    pub milliseconds: AtomicU64,
}

impl Counters {
    /// Adds a batch: at once, for a run may take long, and may fail or be cut off later.
    pub(super) fn count_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Adds a run.
    pub(super) fn count_run(&self, run: &sqlx::Result<Purged>, took: Duration) {
        let counter = if run.is_ok() { &self.runs } else { &self.failures };
        counter.fetch_add(1, Ordering::Relaxed);
        self.milliseconds.fetch_add(took.as_millis() as u64, Ordering::Relaxed);
    }
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
        let deleted = batch(pool, pace.batch()).await?;
        match deleted {
            None => purged.is_running_elsewhere = true,
            Some(deleted) => {
                purged.rows += deleted;
                progress(purged.rows);
            }
        }
        if deleted.is_none_or(|deleted| deleted < pace.batch() as u64) {
            purged.took = began.elapsed();
            return Ok(purged);
        }
        if pace == Pace::Gentle {
            tokio::time::sleep(GENTLE_REST * batch_began.elapsed()).await;
        }
    }
}

/// How many rows wait to be deleted.
pub async fn count_expired(pool: &PgPool) -> sqlx::Result<i64> {
    db::long_transaction(pool, |connection| {
        Box::pin(
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM sessions WHERE purge_after <= now() AND expires_at <= now()"#
            )
            .fetch_one(connection),
        )
    })
    .await
}

async fn batch(pool: &PgPool, rows: i64) -> sqlx::Result<Option<u64>> {
    db::transaction(pool, move |connection| {
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
                RETURNING id, user_id, expires_at
                "#,
                rows,
            )
            .fetch_all(&mut *connection)
            .await?;
            // The sessions ended when they expired, not when they are deleted.
            let expired: Vec<SessionEvent> = deleted
                .iter()
                .filter_map(|row| {
                    let (user, session) = (row.user_id?.into(), row.id.into());
                    Some(SessionEvent { user, session, at: Some(row.expires_at) })
                })
                .collect();
            let details = json!({ "cause": Cause::Expired.as_str() });
            let (kind, origin) = (EventKind::SessionEnded, Origin::system());
            audit::record_for_sessions(connection, kind, &expired, &origin, &details).await?;
            Ok(Some(deleted.len() as u64))
        })
    })
    .await
}
