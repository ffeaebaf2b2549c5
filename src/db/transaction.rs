//! Work on connections of the pool that neither a request that goes away nor a link that is dead can hold: a
//! transaction runs to its end on a task of its own, and a connection on which nothing comes back is given up. sqlx
//! sets no TCP keepalive, a statement timeout acts at the far end alone, and before a connection goes back to the pool
//! sqlx asks whether it lives and would wait for the answer for ever.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool, Postgres};
use tokio::time::timeout;

use super::error::{is_notification_queue_full, is_of_the_connection, silence};
use super::pool::close_idle;

/// Nothing that a page waits for takes longer: a few statements of at most 2.5 s.
const DEADLINE: Duration = Duration::from_secs(10);

/// What counts or deletes as many rows as there are is given so long, for a loop must go on some day.
const LONG_DEADLINE: Duration = Duration::from_secs(3600);

/// The work of one connection.
pub type Work<'c, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>;

/// How work on a connection may fail.
pub trait Failure: From<sqlx::Error> + Send + 'static {
    /// What the database, or the way to it, has to do with it.
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

/// The answer to one statement, for a loop that must go on. The pool gives up the connection of one that got none.
pub async fn with_deadline<T>(statement: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(DEADLINE, statement).await.unwrap_or_else(|_| Err(silence()))
}

/// Runs `work` on `connection` of `pool`, for `deadline` at most, and answers the connection too, for whoever has more to
/// do; after an error it went back or is closed. What came of it when nothing came back is not known. Must not itself be
/// dropped half-way: run it on a task.
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
    match done.unwrap_or_else(|_| Err(E::from(silence()))) {
        Ok(value) => Ok((value, connection)),
        Err(error) => {
            if error.database_error().is_some_and(is_of_the_connection) {
                connection.close_on_drop();
                drop(connection);
                // Those that rest beside it go the same way.
                close_idle(pool).await;
            }
            Err(error)
        }
    }
}

/// Runs `work` in one transaction on a task of its own: a request that is dropped half-way drops the
/// answer, never the transaction (sqlx up to 0.9.0 leaves a connection inside a transaction when
/// `begin` is canceled). `Err` rolls back.
///
/// If the commit is refused because PostgreSQL's notification queue is full, `work` runs once more in a transaction that
/// does not notify; `session_cache_resets` then counts what changed, and the caller's wait (`session/barrier.rs`) lasts a
/// lease.
pub async fn transaction<T, E, F>(pool: &PgPool, work: F) -> Result<T, E>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, E> + Clone + Send + 'static,
    T: Send + 'static,
    E: Failure,
{
    transaction_within(pool, DEADLINE, work).await
}

/// The same for operators and loops that nobody waits for, where one statement takes as long as there are rows: without
/// the statement timeout of pages.
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

/// The same for what may take longer than a page.
pub async fn transaction_within<T, E, F>(pool: &PgPool, deadline: Duration, work: F) -> Result<T, E>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, E> + Clone + Send + 'static,
    T: Send + 'static,
    E: Failure,
{
    let pool = pool.clone();
    let task = tokio::spawn(async move {
        match run(&pool, deadline, work.clone(), Notifications::Sent).await {
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

/// What the triggers on `sessions` and `users` do about a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notifications {
    /// They notify the servers.
    Sent,
    /// They count it in `session_cache_resets`.
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
    let connection = pool.acquire().await?;
    let (value, _) = with_connection::<T, E, _>(pool, connection, deadline, |connection| {
        Box::pin(async move {
            let mut transaction = connection.begin().await?;
            if notifications == Notifications::Counted {
                // Reading the usage also makes PostgreSQL discard what every listener has read; while the queue is full,
                // nothing else does.
                let set = "SELECT set_config('frontdesk.notifications', 'off', true), pg_notification_queue_usage()";
                transaction.execute(set).await?;
                // Before all other locks: the triggers take it wherever a transaction changes sessions or users.
                let count = "SELECT FROM session_cache_resets FOR NO KEY UPDATE";
                transaction.execute(count).await?;
            }
            let value = work(&mut transaction).await?;
            transaction.commit().await?;
            Ok(value)
        })
    })
    .await?;
    Ok(value)
}
