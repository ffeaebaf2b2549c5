//! The way to PostgreSQL: the pool, transactions that can neither be dropped half-way nor wait for ever, and what an
//! error means. Owns no table. Must never log a value that somebody typed.
//!
//! Every connection leads to the primary: it is tested when it is made ([`require_primary`]), and again after it was idle. A
//! server of PostgreSQL does not become a standby without a restart, which ends its connections; a proxy that lists both
//! nodes for some seconds during a switchover leads new connections to either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgExecutor, PgPool};
use tokio::time::timeout;

use crate::config::{Config, Database as Location};

pub mod cluster;
pub mod migrations;
mod transaction;

pub use transaction::{
    Failure, Work, in_time, is_in_recovery, is_notification_queue_full, is_of_a_former_schema,
    lend, long_transaction, transaction, transaction_within,
};

/// How long a request waits for a connection before it answers 503, and everything else for one that is made.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Idle connections older than this are asked whether they still live before they are used.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(1);
/// One that says nothing for so long is dead, and leaves time to make another.
const TEST_DEADLINE: Duration = Duration::from_secs(1);
/// A connection that goes back to the pool may first have to hear the end of a statement that nobody waits for.
const RETURN_DEADLINE: Duration = Duration::from_secs(4);
/// How long connections that are still at work may take when everything ends.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// No statement of a page may run longer; a stalled server is a 503, not a hanging page.
const STATEMENT_TIMEOUT: &str = "2500ms";

/// A connected database: the pool, and the private cluster behind it when there is one.
pub struct Database {
    /// Connections for everybody.
    pub pool: PgPool,
    options: PgConnectOptions,
    cluster: Option<cluster::Cluster>,
    described: String,
}

impl Database {
    /// Where the database is, for people, without user or password.
    pub fn described(&self) -> &str {
        &self.described
    }

    /// The private cluster, when `DATABASE_URL` is not set.
    pub fn cluster(&self) -> Option<&cluster::Cluster> {
        self.cluster.as_ref()
    }

    /// A small pool of new connections. A connection is driven by the runtime of the worker that opened
    /// it, and is dead once that worker has stopped; who writes after that needs one of these.
    pub fn fresh_pool(&self) -> PgPool {
        self.pool_of(1)
    }

    /// Connections beside those of pages, at most `size`, for a loop that must not die with a worker.
    pub fn pool_of(&self, size: u32) -> PgPool {
        pool(self.options.clone(), size)
    }

    /// How to connect to where notifications come from.
    pub fn listen_options(&self, config: &Config) -> anyhow::Result<PgConnectOptions> {
        let options = match &config.listen_url {
            None => self.options.clone(),
            Some(url) => url.reveal().parse().map_err(|_| {
                anyhow::anyhow!("FRONTDESK_LISTEN_URL is not a valid PostgreSQL URL")
            })?,
        };
        Ok(options
            .application_name("frontdesk feed")
            .log_statements(tracing::log::LevelFilter::Off))
    }

    /// Restarts the private cluster of this process whenever it ends. Returns when that has failed for some minutes;
    /// never for a database that this process does not run.
    pub async fn supervise(&self) -> cluster::ClusterError {
        match &self.cluster {
            Some(cluster) => cluster.supervise().await,
            None => std::future::pending().await,
        }
    }

    /// Closes every connection, then stops the private cluster if this process started it.
    pub async fn close(self) -> anyhow::Result<()> {
        // Who still holds a connection has had its time.
        timeout(CLOSE_DEADLINE, self.pool.close()).await.ok();
        if let Some(cluster) = self.cluster {
            cluster.stop().await.context("the private PostgreSQL did not stop cleanly")?;
        }
        Ok(())
    }
}

/// Connects as `config` says; a private cluster is started, or joined when `share` is set and another
/// Frontdesk already runs it.
pub async fn connect(config: &Config, share: bool) -> anyhow::Result<Database> {
    let (url, cluster, described) = match &config.database {
        Location::Url(url) => (url.reveal().to_owned(), None, None),
        Location::Private => {
            let cluster = if share {
                cluster::Cluster::attach_or_start(&config.data_dir).await?
            } else {
                cluster::Cluster::start(&config.data_dir).await?
            };
            (cluster.url().to_owned(), Some(cluster), Some("a private PostgreSQL".to_owned()))
        }
    };
    let options: PgConnectOptions =
        url.parse().map_err(|_| anyhow::anyhow!("DATABASE_URL is not a valid PostgreSQL URL"))?;
    let described = described.unwrap_or_else(|| {
        format!("{} on {}", options.get_database().unwrap_or("postgres"), options.get_host())
    });
    let pool = pool(options.clone(), config.pool_size);
    let database = Database { pool, options, cluster, described };
    match connect_to_primary(&database.options).await {
        Ok(connection) => {
            connection.close().await.ok();
            Ok(database)
        }
        Err(error) => {
            let described = database.described.clone();
            database.close().await.ok();
            Err(unreachable(error, &described))
        }
    }
}

/// What a person who starts the program reads.
fn unreachable(error: ConnectError, described: &str) -> anyhow::Error {
    match error {
        ConnectError::NotPrimary(reason @ NotPrimary::Standby) => anyhow::anyhow!(
            "the PostgreSQL of DATABASE_URL ({described}) {reason}. Set DATABASE_URL to the primary, or to a host name that always points to it."
        ),
        ConnectError::NotPrimary(reason @ NotPrimary::ReadOnly) => anyhow::anyhow!(
            "the PostgreSQL of DATABASE_URL ({described}) {reason}. Turn that setting off for the server, the database and the role."
        ),
        ConnectError::Failed(error) => anyhow::Error::new(error).context(format!(
            "cannot connect to PostgreSQL ({described}). Check that it is running and that DATABASE_URL is correct."
        )),
    }
}

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
    timeout(ACQUIRE_TIMEOUT, connect)
        .await
        .unwrap_or_else(|_| Err(ConnectError::Failed(transaction::silence())))
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

/// The same database, with `schema` in front of the search path: tables of ours beside somebody else's.
pub fn in_schema(options: PgConnectOptions, schema: &str) -> PgConnectOptions {
    options.options([("search_path", schema)])
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
                answer.unwrap_or_else(|_| Err(transaction::silence()))?;
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
        Err(_) => Err(transaction::silence()),
    }
}

/// Closes the connections that rest just now. To be called when there is a sign that the server behind them is
/// not what it was: a demoted primary lets connections be and goes on answering questions, with what it
/// knew.
pub async fn shed(pool: &PgPool) {
    for _ in 0..pool.size() {
        let Some(connection) = pool.try_acquire() else { return };
        connection.close().await.ok();
    }
}

/// Whether a connection is alive and its server takes writes.
async fn accepts_writes(connection: &mut PgConnection) -> bool {
    matches!(timeout(TEST_DEADLINE, require_primary(connection)).await, Ok(Ok(())))
}

/// Whether `error` says that the database is away rather than that a statement is wrong: the visitor
/// gets 503 and "try again", and nothing is held against the session.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            // 08 connection, 53 resources, 57P shutdown, 57014 canceled, 25006 read-only (demoted),
            // 3D000 database away, 55000 in recovery, 55P03 lock not available, 0A000 plan changed under us,
            // 54000 notification queue full.
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57")
                || matches!(
                    code.as_ref(),
                    "25006" | "3D000" | "54000" | "55000" | "55P03" | "0A000"
                )
        }),
        _ => false,
    }
}

/// The name of the constraint that refused a statement, when one did.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    match error {
        sqlx::Error::Database(database) => database.constraint(),
        _ => None,
    }
}
