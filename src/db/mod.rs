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
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::config::postgres_url::location;
use crate::config::{Config, DatabaseLocation};

mod batch;
mod breaker;
mod error;
mod explain;
pub mod foreign_keys;
mod migration_lock;
pub mod migrations;
mod outage;
mod own_objects;
mod pool;
#[cfg(feature = "private-postgres")]
pub mod private_cluster;
#[cfg(not(feature = "private-postgres"))]
#[path = "no_private_cluster.rs"]
pub mod private_cluster;
pub mod schema_move;
mod schema_problem;
pub mod site_migrations;
mod statement;
mod transaction;

pub use batch::Batch;
pub use error::{
    hook_failed, is_cached_plan_error, is_hook_failure, is_in_recovery, is_notification_queue_full,
    is_retryable, is_unavailable, is_wrong_name, refusing_foreign_key, violated_constraint,
};
pub use explain::{cause, connect_cause, explain, reason};
pub use pool::{
    ConnectError, NotPrimary, close_idle, connect_to_primary, pool, require_primary, require_writes,
};
pub use statement::on;

pub use transaction::{
    Failure, Work, allow_long_statement, long_transaction, set_search_path, transaction,
    transaction_within, with_connection, with_deadline,
};

/// Connections for the work of the jobs of a website. The lock of each job has another one.
pub const SITE_JOB_POOL_SIZE: u32 = 4;
/// How long a hook of a website that is called after a commit may take.
pub const SITE_HOOK_LIMIT: Duration = Duration::from_secs(30);
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

    /// A pool for the handlers of a website: it finds the site's tables first, and then Frontdesk's.
    pub fn new_site_pool(&self, config: &Config) -> PgPool {
        pool(self.site_options(config), config.site_pool_size)
    }

    /// Like [`Database::new_site_pool`], for jobs and commands: small, and without the statement timeout of pages.
    pub fn new_site_job_pool(&self, config: &Config) -> PgPool {
        pool::pool_with_timeout(self.site_options(config), SITE_JOB_POOL_SIZE, "0")
    }

    /// Like [`Database::new_site_job_pool`], for hooks that are called after the commit. Their statements end with the
    /// time of a hook, so that one that was given up does not keep running.
    pub fn new_site_hook_pool(&self, config: &Config) -> PgPool {
        let timeout = format!("{}s", SITE_HOOK_LIMIT.as_secs());
        pool::pool_with_timeout(self.site_options(config), SITE_JOB_POOL_SIZE, &timeout)
    }

    fn site_options(&self, config: &Config) -> PgConnectOptions {
        in_schema(self.options.clone(), &config.site_search_path())
    }

    /// The connection options of the LISTEN connection.
    pub fn listen_options(&self, config: &Config) -> anyhow::Result<PgConnectOptions> {
        let options = match &config.listen_url {
            None => self.options.clone(),
            Some(url) => {
                warn_of_ignored("FRONTDESK_LISTEN_URL", url);
                pool::pinned(url.options().clone())
            }
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

/// The database's time: rows have times by this clock.
pub async fn now(pool: &PgPool) -> sqlx::Result<OffsetDateTime> {
    sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(on(pool)).await
}

/// Shown in the log and by `doctor` if the public URL is https and there is no `DATABASE_URL`.
pub const PRIVATE_IN_PRODUCTION: &str = "The public URL is https, but the database is the private one in the data folder, which only this server can use and only a copy of the folder backs up. Set DATABASE_URL for a site with users.";

/// Shown in the log and by `doctor` for each of [`Config::unverified_databases`].
pub fn unverified(setting: &str, host: &str) -> String {
    format!(
        "{setting}: connections to PostgreSQL on {host} cross a network, and without sslmode=verify-full it is not verified that they are encrypted and reach that server. Add sslmode=verify-full (and sslrootcert=FILE for your own CA), or set FRONTDESK_DATABASE_TLS=off if the network is protected otherwise."
    )
}

/// How the private cluster is used if `DATABASE_URL` is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateCluster {
    /// This process creates it if necessary, and runs it. Another process that runs it is an error.
    Own,
    /// It must exist. If another process runs it, both use it.
    Existing,
}

/// Connects to the database of `config`. Starts the private cluster if there is no URL.
pub async fn connect(config: &Config, private: PrivateCluster) -> anyhow::Result<Database> {
    let (options, cluster) = match &config.database {
        DatabaseLocation::Url(url) => {
            warn_of_ignored("DATABASE_URL", url);
            (url.options().clone(), None)
        }
        DatabaseLocation::Private => {
            let cluster = match private {
                PrivateCluster::Own => private_cluster::Cluster::start(&config.data_dir).await?,
                PrivateCluster::Existing => {
                    private_cluster::Cluster::attach_or_start(&config.data_dir).await?
                }
            };
            (cluster.url().parse()?, Some(cluster))
        }
    };
    let description =
        cluster.as_ref().map_or_else(|| location(&options), |_| "a private PostgreSQL".to_owned());
    let options = pool::pinned(options);
    let options = match (&config.schema, &cluster) {
        (Some(schema), _) => in_schema(options, schema),
        // Its login has the name of the schema that a website uses, which would come first.
        (None, Some(_)) => in_schema(options, "public"),
        (None, None) => options,
    };
    let pool = pool(options.clone(), config.pool_size);
    let database = Database { pool, options, cluster, description };
    match check_server(&database.options).await {
        Ok(()) => Ok(database),
        Err(error) => {
            database.close().await.ok();
            Err(error)
        }
    }
}

fn warn_of_ignored(setting: &str, url: &crate::config::PostgresUrl) {
    for name in url.ignored() {
        tracing::warn!("{setting}: the parameter {name} is not supported and has no effect");
    }
}

/// Connects once, and checks that the encoding of the database is UTF8.
async fn check_server(options: &PgConnectOptions) -> anyhow::Result<()> {
    let mut connection = connect_to_primary(options)
        .await
        .map_err(|error| explain::unreachable(&error, "DATABASE_URL", options))?;
    let encoding: String =
        sqlx::query_scalar("SHOW server_encoding").fetch_one(&mut connection).await?;
    connection.close().await.ok();
    if encoding != "UTF8" {
        anyhow::bail!(
            "the database ({}) has the encoding {encoding}, but UTF8 is required: limits on the length of texts count characters. Create another one: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0;",
            location(options)
        );
    }
    Ok(())
}

/// The same options with `schema` as the search path, to keep Frontdesk's tables apart from those of an
/// application.
pub fn in_schema(options: PgConnectOptions, schema: &str) -> PgConnectOptions {
    options.options([("search_path", schema)])
}

/// Logs that `what` failed: as part of an outage if the database is unavailable or an outage is being logged,
/// otherwise as a warning.
pub fn log_failure(what: &str, error: &anyhow::Error) {
    let is_outage = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<sqlx::Error>().is_some_and(is_unavailable)
    };
    let cause = explain(error);
    if error.chain().any(is_outage) || outage::is_ongoing() {
        outage::report(what, &cause);
    } else {
        tracing::warn!(error = cause, "{what}");
    }
}

/// Notes that a statement succeeded, which may end an outage.
pub fn note_success() {
    outage::succeeded();
}
