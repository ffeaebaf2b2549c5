//! Queues: rows that a background job processes one by one, each in its own transaction, the oldest first. Owns the
//! table `queue_failures`. A row whose transaction fails is retried later, and set aside after
//! five attempts (`WAITS`), so that the rows behind it never wait for it. Failures are counted in a table
//! beside the queues, because the row may be what cannot be written.
//!
//! The statements that take a row leave out those that wait or are set aside. A `next_attempt_at` further ahead
//! than any wait was stored before PostgreSQL's clock was set back, and counts as past.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db;
use crate::program;

/// The waits after the failed attempts of a row, in seconds. The attempt after the last one sets it aside.
const WAITS: [f64; 4] = [5.0, 60.0, 10.0 * 60.0, 3_600.0];
/// After that many failures the round ends: probably every row fails.
const MAX_FAILURES_PER_ROUND: u32 = 20;
/// In bytes. A CHECK of the table allows 1024.
const MAX_ERROR_LENGTH: usize = 1000;

/// A queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Registrations whose mail has to be written.
    Registrations,
    /// Password-reset requests.
    RecoveryRequests,
    /// Accounts whose deletion is due.
    Deletions,
}

impl Queue {
    const ALL: [Queue; 3] = [Queue::Registrations, Queue::RecoveryRequests, Queue::Deletions];

    /// The name in `queue_failures.queue`.
    pub fn as_str(self) -> &'static str {
        match self {
            Queue::Registrations => "registrations",
            Queue::RecoveryRequests => "recovery_requests",
            Queue::Deletions => "deletions",
        }
    }

    /// What is delayed if the queue fails.
    fn work(self) -> &'static str {
        match self {
            Queue::Registrations => "the mail of a registration",
            Queue::RecoveryRequests => "the mail for a forgotten password",
            Queue::Deletions => "the deletion of an account that is due",
        }
    }

    /// How an operator drops a row that is set aside: SQL with `ID` for its id, or a command.
    fn how_to_drop(self) -> &'static str {
        match self {
            Queue::Registrations => "DELETE FROM registrations WHERE id = 'ID'",
            Queue::RecoveryRequests => "DELETE FROM recovery_requests WHERE id = 'ID'",
            Queue::Deletions => "UPDATE users SET deletion_due_at = NULL WHERE id = 'ID'",
        }
    }
}

/// The row that the current transaction has taken from the queue. It is known to the caller also if the
/// transaction fails at its commit or panics.
#[derive(Clone, Debug, Default)]
pub struct TakenRow(Arc<Mutex<Option<Uuid>>>);

impl TakenRow {
    /// Notes the row. Call it as soon as the row is locked.
    pub fn set(&self, row: Uuid) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(row);
    }

    fn get(&self) -> Option<Uuid> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls `step` until it returns `false`, which means that no row is due. Each call takes one row in one
/// transaction and notes it in its argument. Returns how many rows were processed. Errors are logged here.
pub async fn process<F, R>(pool: &PgPool, queue: Queue, step: F) -> u64
where
    F: Fn(TakenRow) -> R,
    R: Future<Output = sqlx::Result<bool>>,
{
    let (mut processed, mut failures) = (0, 0);
    while failures < MAX_FAILURES_PER_ROUND {
        let taken = TakenRow::default();
        match (step(taken.clone()).await, taken.get()) {
            (Ok(true), _) => processed += 1,
            (Ok(false), _) => break,
            (Err(error), Some(row)) => {
                failures += 1;
                if let Err(error) = postpone(pool, queue, row, error).await {
                    db::log_failure(&format!("{} is delayed", queue.work()), &error.into());
                    break;
                }
            }
            (Err(error), None) => {
                db::log_failure(&format!("{} is delayed", queue.work()), &error.into());
                break;
            }
        }
    }
    processed
}

/// Counts a failed attempt of `row`, and logs it: the row is retried later, or set aside. If the database was
/// unavailable, or a lock was not granted in time, the row is retried for as long as that takes.
pub async fn postpone(
    pool: &PgPool,
    queue: Queue,
    row: Uuid,
    error: sqlx::Error,
) -> sqlx::Result<()> {
    let may_pass = db::is_unavailable(&error) && !matches!(error, sqlx::Error::WorkerCrashed);
    let error = anyhow::Error::from(error);
    let reason = db::explain(&error);
    let counted = sqlx::query!(
        r#"
        INSERT INTO queue_failures AS f (queue, row_id, attempts, next_attempt_at, last_error)
        VALUES ($1, $2, 1, now() + make_interval(secs => ($3::float8[])[1]), $4)
            ON CONFLICT ON CONSTRAINT queue_failures_pkey DO UPDATE
           SET attempts = f.attempts + 1,
               next_attempt_at = now() + make_interval(
                   secs => ($3::float8[])[CASE WHEN $5 THEN least(f.attempts + 1, cardinality($3))
                                               ELSE f.attempts + 1 END]),
               last_error = EXCLUDED.last_error
        RETURNING attempts, next_attempt_at IS NULL AS "is_set_aside!"
        "#,
        queue.as_str(),
        row,
        &WAITS[..],
        &reason[..reason.floor_char_boundary(MAX_ERROR_LENGTH)],
        may_pass,
    )
    .fetch_one(db::on(pool))
    .await?;
    let (name, attempts) = (queue.as_str(), counted.attempts);
    if counted.is_set_aside {
        let drop = queue.how_to_drop().replace("ID", &row.to_string());
        tracing::warn!(
            queue = name,
            row = %row,
            attempts,
            error = reason,
            "{} failed too often and is set aside. Remove the cause and run `{program} queue retry {row}`; to drop it, run in psql: {drop}",
            queue.work(),
            program = program::name(),
        );
    } else {
        let what =
            format!("{} failed and is retried later (queue {name}, row {row})", queue.work());
        db::log_failure(&what, &error);
    }
    Ok(())
}

/// A row whose last attempt failed.
pub struct FailedRow {
    /// [`Queue::as_str`].
    pub queue: String,
    /// The id of the row in the table of the queue.
    pub row_id: Uuid,
    /// How many attempts failed.
    pub attempts: i32,
    /// When it is retried; `None` if it is set aside.
    pub next_attempt_at: Option<OffsetDateTime>,
    /// Why the last attempt failed.
    pub last_error: String,
    /// When the first attempt failed.
    pub created_at: OffsetDateTime,
}

impl FailedRow {
    /// How an operator drops the row.
    pub fn how_to_drop(&self) -> Option<String> {
        let queue = Queue::ALL.into_iter().find(|queue| queue.as_str() == self.queue)?;
        Some(queue.how_to_drop().replace("ID", &self.row_id.to_string()))
    }
}

/// Lists up to `limit` rows that failed, those that are set aside first.
pub async fn list_failed(pool: &PgPool, limit: i64) -> sqlx::Result<Vec<FailedRow>> {
    sqlx::query_as!(
        FailedRow,
        r#"
        SELECT queue, row_id, attempts, next_attempt_at, last_error, created_at
          FROM queue_failures
         ORDER BY next_attempt_at NULLS FIRST, created_at
         LIMIT $1
        "#,
        limit,
    )
    .fetch_all(db::on(pool))
    .await
}

/// Whether the last attempt of `row` failed.
pub async fn has_failed(pool: &PgPool, queue: Queue, row: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT FROM queue_failures WHERE queue = $1 AND row_id = $2) AS "exists!"
        "#,
        queue.as_str(),
        row,
    )
    .fetch_one(db::on(pool))
    .await
}

/// Makes a row due that failed, or all of them, with all their attempts. Returns how many.
pub async fn retry(pool: &PgPool, row: Option<Uuid>) -> sqlx::Result<u64> {
    let retried =
        sqlx::query!("DELETE FROM queue_failures WHERE $1::uuid IS NULL OR row_id = $1", row)
            .execute(db::on(pool))
            .await?;
    Ok(retried.rows_affected())
}

/// Deletes up to `limit` failures whose row is no longer in its queue, leaving out the first `skipped`.
pub async fn purge(connection: &mut PgConnection, limit: i64, skipped: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM queue_failures
         WHERE (queue, row_id) IN (
               SELECT f.queue, f.row_id
                 FROM queue_failures f
                WHERE CASE f.queue
                      WHEN 'registrations' THEN
                          (SELECT true FROM registrations r WHERE r.id = f.row_id AND r.mailed_at IS NULL)
                      WHEN 'recovery_requests' THEN
                          (SELECT true FROM recovery_requests r WHERE r.id = f.row_id)
                      ELSE
                          (SELECT true FROM users u WHERE u.id = f.row_id AND u.deletion_due_at IS NOT NULL)
                      END IS NULL
                ORDER BY f.created_at
                LIMIT $1 OFFSET $2
                  FOR UPDATE SKIP LOCKED)
        "#,
        limit,
        skipped,
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}
