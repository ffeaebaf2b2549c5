//! Transactions with a deadline. A transaction runs to completion in its own task, even if the request that
//! started it is dropped, and a connection that does not respond in time is closed. This is necessary because
//! sqlx sets no TCP keepalive, the statement timeout is enforced by the server only, and sqlx pings a
//! connection without a deadline before it returns it to the pool.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool, Postgres};
use tokio::time::timeout;

use super::error::{
    commit_unknown, commits_stall, is_connection_unusable, is_hook_failure,
    is_notification_queue_full, is_retryable, is_shutdown, is_timeout, timed_out,
};
use super::pool::close_idle;
use super::{breaker, outage};
use crate::log;

/// Deadline of work that a page waits for: a few statements of at most 2.5 s each.
const DEADLINE: Duration = Duration::from_secs(10);

/// Deadline of statements that count or delete an unbounded number of rows. A background job must not hang
/// forever.
const LONG_DEADLINE: Duration = Duration::from_secs(3600);

/// Begins a transaction and marks it as Frontdesk's own in the same round trip: the triggers that record the
/// changes of other database clients (`migrations/*_database_changes.up.sql`) skip it. The setting is local to
/// the transaction, so it also holds behind a pooler in transaction mode. So does the isolation level, on which
/// all statements rely.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL frontdesk.actor = 'frontdesk'";

/// A future that uses one connection.
pub type Work<'c, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>;

/// An error of work on a connection.
pub trait Failure: From<sqlx::Error> + Send + 'static {
    /// The error of the database or of the connection, if that is the cause.
    fn database_error(&self) -> Option<&sqlx::Error>;
}

impl Failure for sqlx::Error {
    fn database_error(&self) -> Option<&sqlx::Error> {
        Some(self)
    }
}

impl Failure for anyhow::Error {
    fn database_error(&self) -> Option<&sqlx::Error> {
        self.downcast_ref()
    }
}

/// Runs one statement of a background job with a deadline of ten seconds. After a timeout, the pool pings the
/// connection and closes it if there is no response.
pub async fn with_deadline<T>(statement: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(DEADLINE, statement).await.unwrap_or_else(|_| Err(timed_out()))
}

/// Runs `work` on `connection` of `pool`, for `deadline` at most. Returns the connection too, for further
/// work. After an error, the connection is returned to the pool or closed. After a timeout, it is unknown
/// whether the work took effect. The future must not be dropped before it completes: run it in a task.
pub async fn with_connection<T, E, F>(
    pool: &PgPool,
    mut connection: PoolConnection<Postgres>,
    deadline: Duration,
    work: F,
) -> Result<(T, PoolConnection<Postgres>), E>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, E>,
    E: Failure,
{
    let done = timeout(deadline, work(&mut connection)).await;
    match done.unwrap_or_else(|_| Err(E::from(timed_out()))) {
        Ok(value) => Ok((value, connection)),
        Err(error) => {
            if error.database_error().is_some_and(is_connection_unusable) {
                connection.close_on_drop();
                drop(connection);
                // The idle connections of the pool are probably connected to the same server. A hook of a site that
                // was interrupted says nothing about them.
                if !error.database_error().is_some_and(is_hook_failure) {
                    close_idle(pool).await;
                }
            }
            Err(error)
        }
    }
}

/// Runs `work` in one transaction, in its own task. Dropping the returned future, for example with its
/// request, does not cancel the transaction (sqlx up to 0.9.0 leaves a connection inside a transaction when
/// `begin` is canceled). An error rolls back.
///
/// If PostgreSQL refused a statement although nothing is wrong with it (its plan is out of date, or it lost a
/// conflict with a concurrent transaction), `work` runs a second time.
///
/// If the commit is refused because PostgreSQL's notification queue is full, `work` runs a second time in a
/// transaction that does not notify. The change then increments `session_cache_resets`, and the caller waits
/// for one lease (`session/cache/barrier.rs`).
pub async fn transaction<T, E, F>(pool: &PgPool, work: F) -> Result<T, E>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, E> + Clone + Send + 'static,
    T: Send + 'static,
    E: Failure,
{
    transaction_within(pool, DEADLINE, work).await
}

/// Like [`transaction`], for operators and background jobs whose statements process an unbounded number of
/// rows: the deadline is one hour, and the statement timeout of pages does not apply.
pub async fn long_transaction<T, E, F>(pool: &PgPool, work: F) -> Result<T, E>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, E> + Clone + Send + 'static,
    T: Send + 'static,
    E: Failure,
{
    transaction_within(pool, LONG_DEADLINE, |connection| {
        Box::pin(async move {
            connection.execute("SET LOCAL statement_timeout = 0").await?;
            work(connection).await
        })
    })
    .await
}

/// Raises the statement timeout of the caller's transaction to eight seconds, unless it is already longer: for
/// a statement whose duration grows with what one user has, such as ending all sessions of a user. The
/// deadline of [`transaction`] still applies.
pub async fn allow_long_statement(connection: &mut PgConnection) -> sqlx::Result<()> {
    let raise = "SELECT set_config('statement_timeout', '8s', true)
                  WHERE current_setting('statement_timeout')::interval BETWEEN interval '1 ms' AND interval '8 s'";
    connection.execute(raise).await?;
    Ok(())
}

/// Like [`transaction`], with another deadline.
pub async fn transaction_within<T, E, F>(pool: &PgPool, deadline: Duration, work: F) -> Result<T, E>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, E> + Clone + Send + 'static,
    T: Send + 'static,
    E: Failure,
{
    let pool = pool.clone();
    let task = log::spawn(async move {
        let mut result = run(&pool, deadline, work.clone(), Notifications::Sent).await;
        if result.as_ref().is_err_and(|error| error.database_error().is_some_and(is_retryable)) {
            let work = work.clone();
            result = run(
                &pool,
                deadline,
                |connection| {
                    Box::pin(async move {
                        // This connection may have prepared statements that are out of date too.
                        connection.clear_cached_statements().await?;
                        work(connection).await
                    })
                },
                Notifications::Sent,
            )
            .await;
        }
        match result {
            Err(error) if error.database_error().is_some_and(is_notification_queue_full) => {
                tracing::warn!(
                    "PostgreSQL's notification queue is full. The change is committed without a notification, and the response waits up to 3 s until no server can have a stale session. Look for a listening connection that stays in a transaction"
                );
                run(&pool, deadline, work, Notifications::Counted).await
            }
            done => done,
        }
    });
    match task.await {
        Ok(result) => result,
        Err(_) => Err(E::from(sqlx::Error::WorkerCrashed)),
    }
}

/// What the triggers on `sessions` and `users` do after a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notifications {
    /// They notify the servers (the default).
    Sent,
    /// They increment `session_cache_resets`.
    Counted,
}

async fn run<T, E, F>(
    pool: &PgPool,
    deadline: Duration,
    work: F,
    notifications: Notifications,
) -> Result<T, E>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, E> + Send + 'static,
    T: Send + 'static,
    E: Failure,
{
    if !breaker::admits(pool).await {
        return Err(E::from(commits_stall()));
    }
    let connection = pool.acquire().await?;
    let is_committing = Arc::new(AtomicBool::new(false));
    let commits = Arc::clone(&is_committing);
    let done = with_connection::<T, E, _>(pool, connection, deadline, |connection| {
        Box::pin(async move {
            let mut transaction = connection.begin_with(BEGIN).await?;
            if notifications == Notifications::Counted {
                // Reading the usage makes PostgreSQL discard the notifications that every listener has read.
                // Nothing else does that while the queue is full.
                let set = "SELECT set_config('frontdesk.notifications', 'off', true), pg_notification_queue_usage()";
                transaction.execute(set).await?;
                // Locked before all other rows to avoid deadlocks: the triggers lock this row in every
                // transaction that changes sessions or users.
                let lock = "SELECT FROM session_cache_resets FOR NO KEY UPDATE";
                transaction.execute(lock).await?;
            }
            let value = match work(&mut transaction).await {
                Ok(value) => value,
                Err(error) => {
                    // Dropping it would roll back later, and a second attempt would meet its locks.
                    if !error.database_error().is_some_and(is_connection_unusable) {
                        transaction.rollback().await.ok();
                    }
                    return Err(error);
                }
            };
            commits.store(true, Ordering::Relaxed);
            transaction.commit().await?;
            Ok(value)
        })
    })
    .await;
    let error = match done {
        Ok((value, _)) => {
            outage::succeeded();
            return Ok(value);
        }
        Err(error) => error,
    };
    match error.database_error() {
        Some(cause) => {
            if is_timeout(cause) {
                breaker::note_stall();
            }
            let was_answered = matches!(cause, sqlx::Error::Database(_)) && !is_shutdown(cause);
            let is_unknown = is_committing.load(Ordering::Relaxed) && !was_answered;
            Err(if is_unknown { E::from(commit_unknown()) } else { error })
        }
        None => Err(error),
    }
}

/// Sets the search path until the end of the transaction: the statements of a site find its own tables first, and those of
/// Frontdesk must not find a table of the site with the same name.
pub async fn set_search_path(connection: &mut PgConnection, path: &str) -> sqlx::Result<()> {
    sqlx::query("SELECT set_config('search_path', $1, true)")
        .bind(path)
        .execute(connection)
        .await?;
    Ok(())
}
