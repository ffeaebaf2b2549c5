//! Connections to the primary. A new connection is tested ([`require_primary`]), and tested again after it was idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgExecutor, PgPool};
use tokio::time::timeout;

use super::error::silence;

/// How long a request waits for a connection before it answers 503, and everything else for one that is made.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Idle connections older than this are asked whether they still live before they are used.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(1);
/// One that says nothing for so long is dead, and leaves time to make another.
const TEST_DEADLINE: Duration = Duration::from_secs(1);
/// A connection that goes back to the pool may first have to hear the end of a statement that nobody waits for.
const RETURN_DEADLINE: Duration = Duration::from_secs(4);
/// No statement of a page may run longer; a stalled server is a 503, not a hanging page.
const STATEMENT_TIMEOUT: &str = "2500ms";

/// Why a PostgreSQL that answers cannot be served from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPrimary {
    /// Its data may be behind, and nothing can be written.
    #[error("is a standby: it is in recovery and accepts no writes")]
    Standby,
    /// `default_transaction_read_only` is on, for the server, the database or the role.
    #[error("accepts no writes: default_transaction_read_only is on")]
    ReadOnly,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server was reached and is of no use.
    #[error("the PostgreSQL behind this connection {0}")]
    NotPrimary(#[from] NotPrimary),
    /// Anything else.
    #[error(transparent)]
    Failed(#[from] sqlx::Error),
}

/// A connection of its own, outside of every pool, to a server that takes writes. Waits as long as a request waits for one.
pub async fn connect_to_primary(options: &PgConnectOptions) -> Result<PgConnection, ConnectError> {
    let connect = async {
        let mut connection = PgConnection::connect_with(options).await?;
        match require_primary(&mut connection).await {
            Ok(()) => Ok(connection),
            Err(error) => {
                connection.close().await.ok();
                Err(error)
            }
        }
    };
    timeout(ACQUIRE_TIMEOUT, connect).await.unwrap_or_else(|_| Err(ConnectError::Failed(silence())))
}

/// Whether the server behind a connection takes writes: nothing that a standby says is current.
pub async fn require_primary(connection: impl PgExecutor<'_>) -> Result<(), ConnectError> {
    let (is_in_recovery, read_only): (bool, String) =
        sqlx::query_as("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')")
            .fetch_one(connection)
            .await?;
    match (is_in_recovery, read_only.as_str()) {
        (true, _) => Err(NotPrimary::Standby.into()),
        (false, "off") => Ok(()),
        (false, _) => Err(NotPrimary::ReadOnly.into()),
    }
}

/// A pool of tested connections: one that leads to a standby is refused when it is made, and one that is dead, or whose
/// server no longer takes writes, is noticed before it is used.
pub fn pool(options: PgConnectOptions, size: u32) -> PgPool {
    let options = options
        .application_name("frontdesk")
        .options([
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("idle_in_transaction_session_timeout", "5s"),
        ])
        .log_statements(tracing::log::LevelFilter::Off);
    let refused = Arc::new(AtomicBool::new(false));
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let refused = Arc::clone(&refused);
            Box::pin(async move { accept_or_refuse(connection, &refused).await })
        })
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                Ok(meta.idle_for <= TEST_AFTER_IDLE || accepts_writes(connection).await)
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                // sqlx asks the same once more, without a deadline: a dead connection would keep its place.
                let answer = timeout(RETURN_DEADLINE, connection.ping()).await;
                answer.unwrap_or_else(|_| Err(silence()))?;
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// Tests a new connection of a pool. sqlx closes one that is refused and tries again until the acquire timeout; the log
/// tells the first refusal and the end of them.
async fn accept_or_refuse(
    connection: &mut PgConnection,
    was_refused: &AtomicBool,
) -> sqlx::Result<()> {
    let tested = timeout(TEST_DEADLINE, require_primary(connection)).await;
    match tested {
        Ok(Ok(())) => {
            if was_refused.swap(false, Ordering::Relaxed) {
                tracing::info!("connections reach a primary again");
            }
            Ok(())
        }
        Ok(Err(ConnectError::NotPrimary(reason))) => {
            if !was_refused.swap(true, Ordering::Relaxed) {
                tracing::warn!("a connection was refused: the PostgreSQL behind it {reason}");
            }
            Err(sqlx::Error::Configuration(reason.into()))
        }
        Ok(Err(ConnectError::Failed(error))) => Err(error),
        Err(_) => Err(silence()),
    }
}

/// Closes the connections that rest just now. To be called when there is a sign that the server behind them is
/// not what it was: a demoted primary lets connections be and goes on answering questions, with what it
/// knew.
pub async fn close_idle(pool: &PgPool) {
    for _ in 0..pool.size() {
        let Some(connection) = pool.try_acquire() else { return };
        connection.close().await.ok();
    }
}

/// Whether a connection is alive and its server takes writes.
async fn accepts_writes(connection: &mut PgConnection) -> bool {
    matches!(timeout(TEST_DEADLINE, require_primary(connection)).await, Ok(Ok(())))
}
