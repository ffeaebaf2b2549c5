//! Access to PostgreSQL: connection pools, transactions with a deadline, migrations, and the classification
//! of errors. Owns no table. Must never log user input.
//!
//! All connections must reach the primary. This is checked when a connection is opened and after it was idle
//! ([`require_primary`]). A PostgreSQL server becomes a standby only by a restart, which closes its
//! connections. But during a switchover, a proxy may route new connections to either node for some seconds.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgPool};
use tokio::time::timeout;

use crate::config::{Config, DatabaseLocation};

mod error;
pub mod migrations;
mod pool;
pub mod private_cluster;
mod transaction;

pub use error::{
    is_cached_plan_error, is_in_recovery, is_notification_queue_full, is_unavailable,
    violated_constraint,
};
pub use pool::{ConnectError, NotPrimary, close_idle, connect_to_primary, pool, require_primary};
pub use transaction::{
    Failure, Work, allow_long_statement, long_transaction, transaction, transaction_within,
    with_connection, with_deadline,
};

/// How long [`Database::close`] waits for connections that are in use.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// A connected database: the pool, and the private cluster if `DATABASE_URL` is not set.
pub struct Database {
    /// The connection pool of the request handlers.
    pub pool: PgPool,
    options: PgConnectOptions,
    cluster: Option<private_cluster::Cluster>,
    description: String,
}

impl Database {
    /// Database name and host for log messages, without user or password.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The private cluster, if `DATABASE_URL` is not set.
    pub fn cluster(&self) -> Option<&private_cluster::Cluster> {
        self.cluster.as_ref()
    }

    /// Another pool of at most `size` connections. A connection belongs to the runtime of the worker that
    /// opened it and fails once that worker has stopped, so code that runs longer than the workers cannot use
    /// [`Database::pool`].
    pub fn new_pool(&self, size: u32) -> PgPool {
        pool(self.options.clone(), size)
    }

    /// The connection options of the LISTEN connection.
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

    /// Restarts the private cluster of this process whenever it ends. Returns once restarts have failed for
    /// five minutes. Never returns if this process does not run the database.
    pub async fn supervise(&self) -> private_cluster::ClusterError {
        match &self.cluster {
            Some(cluster) => cluster.supervise().await,
            None => std::future::pending().await,
        }
    }

    /// Closes every connection, then stops the private cluster if this process started it.
    pub async fn close(self) -> anyhow::Result<()> {
        // Connections that are still in use after the deadline are not waited for.
        timeout(CLOSE_DEADLINE, self.pool.close()).await.ok();
        if let Some(cluster) = self.cluster {
            cluster.stop().await.context("the private PostgreSQL did not stop cleanly")?;
        }
        Ok(())
    }
}

/// Connects to the database of `config`. Starts the private cluster if there is no URL. If another Frontdesk
/// process runs the private cluster, `share` uses it; otherwise this is an error.
pub async fn connect(config: &Config, share: bool) -> anyhow::Result<Database> {
    let (url, cluster, description) = match &config.database {
        DatabaseLocation::Url(url) => (url.reveal().to_owned(), None, None),
        DatabaseLocation::Private => {
            let cluster = if share {
                private_cluster::Cluster::attach_or_start(&config.data_dir).await?
            } else {
                private_cluster::Cluster::start(&config.data_dir).await?
            };
            (cluster.url().to_owned(), Some(cluster), Some("a private PostgreSQL".to_owned()))
        }
    };
    let options: PgConnectOptions =
        url.parse().map_err(|_| anyhow::anyhow!("DATABASE_URL is not a valid PostgreSQL URL"))?;
    let description = description.unwrap_or_else(|| {
        format!("{} on {}", options.get_database().unwrap_or("postgres"), options.get_host())
    });
    let pool = pool(options.clone(), config.pool_size);
    let database = Database { pool, options, cluster, description };
    match connect_to_primary(&database.options).await {
        Ok(connection) => {
            connection.close().await.ok();
            Ok(database)
        }
        Err(error) => {
            let description = database.description.clone();
            database.close().await.ok();
            Err(unreachable(error, &description))
        }
    }
}

/// The error message for the operator.
fn unreachable(error: ConnectError, description: &str) -> anyhow::Error {
    match error {
        ConnectError::NotPrimary(reason @ NotPrimary::Standby) => anyhow::anyhow!(
            "the PostgreSQL of DATABASE_URL ({description}) {reason}. Set DATABASE_URL to the primary, or to a host name that always points to it."
        ),
        ConnectError::NotPrimary(reason @ NotPrimary::ReadOnly) => anyhow::anyhow!(
            "the PostgreSQL of DATABASE_URL ({description}) {reason}. Turn that setting off for the server, the database and the role."
        ),
        ConnectError::Failed(error) => anyhow::Error::new(error).context(format!(
            "cannot connect to PostgreSQL ({description}). Check that it is running and that DATABASE_URL is correct."
        )),
    }
}

/// The same options with `schema` as the search path, to keep Frontdesk's tables apart from those of an
/// application.
pub fn in_schema(options: PgConnectOptions, schema: &str) -> PgConnectOptions {
    options.options([("search_path", schema)])
}
