//! Connection pools for the primary. Each connection is tested when it is opened and after it was idle
//! ([`require_primary`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgExecutor, PgPool};
use tokio::time::timeout;

use super::error::timed_out;
use crate::program;

/// How long a request waits for a connection before it fails with 503. Also the timeout for opening a
/// connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that was idle for longer is tested before it is used.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(1);
/// A connection that fails to respond to the test within this time is closed. Short enough to open another
/// one within [`ACQUIRE_TIMEOUT`].
const TEST_DEADLINE: Duration = Duration::from_secs(1);
/// A connection that is returned to the pool may first have to finish a statement that was abandoned. Longer
/// than [`STATEMENT_TIMEOUT`].
const RETURN_DEADLINE: Duration = Duration::from_secs(4);
/// Statement timeout of the request handlers: if the server stalls, the response is 503 instead of a page
/// that never loads.
const STATEMENT_TIMEOUT: &str = "2500ms";

/// Settings on which the statements rely. A DBA can change their defaults for the server, the database or the
/// role. sqlx sets `client_encoding`, `DateStyle` and `TimeZone`.
const PINNED: [(&str, &str); 10] = [
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("lock_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    ("quote_all_identifiers", "off"),
];
/// Also pinned, but not as a startup option: PostgreSQL 17 introduced it.
const PINNED_SINCE_17: (&str, &str) = ("transaction_timeout", "0");

/// Slower statements are logged at the level DEBUG: during an outage they would be most of the log. PostgreSQL logs
/// them with `log_min_duration_statement`.
const SLOW: Duration = Duration::from_secs(1);

/// The options of every connection.
pub(super) fn pinned(options: PgConnectOptions) -> PgConnectOptions {
    options
        .options(PINNED)
        .options([("statement_timeout", STATEMENT_TIMEOUT)])
        .log_slow_statements(tracing::log::LevelFilter::Debug, SLOW)
}

/// Why a PostgreSQL server that accepts connections cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPrimary {
    /// The server is a standby. Its data may be stale, and it accepts no writes.
    #[error("is a standby: it is in recovery and accepts no writes")]
    Standby,
    /// `default_transaction_read_only` is on for the server, the database or the role.
    #[error("accepts no writes: default_transaction_read_only is on")]
    ReadOnly,
}

/// Why a connection to a primary failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server accepts connections but no writes.
    #[error("the PostgreSQL behind this connection {0}")]
    NotPrimary(#[from] NotPrimary),
    /// The login lacks a privilege, for example `INSERT on sessions`.
    #[error(
        "the login lacks the privilege {0}. Grant the privileges with `{program} migrate roles`", program = program::name()
    )]
    MissingPrivilege(String),
    /// A table or its primary key is missing.
    #[error("the table {0} or its primary key does not exist. Is the database being restored?")]
    MissingTable(String),
    /// Any other error.
    #[error(transparent)]
    Failed(#[from] sqlx::Error),
}

/// Opens a connection outside of the pools to a server that accepts writes. Times out after two seconds.
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
        .unwrap_or_else(|_| Err(ConnectError::Failed(timed_out())))
}

/// Checks that the server accepts writes. A standby may return stale data. Also sets `PINNED` where it has
/// another value: a pooler may ignore the startup options of `pinned`.
pub async fn require_primary(connection: impl PgExecutor<'_>) -> Result<(), ConnectError> {
    let (names, values): (Vec<&str>, Vec<&str>) =
        PINNED.into_iter().chain([PINNED_SINCE_17]).unzip();
    let (is_in_recovery, read_only, _): (bool, String, i64) = sqlx::query_as(
        "SELECT pg_is_in_recovery(), current_setting('transaction_read_only'),
                (SELECT count(set_config(name, value, false))
                   FROM unnest($1::text[], $2::text[]) AS pinned (name, value)
                  WHERE current_setting(name, true) <> value)",
    )
    .bind(names)
    .bind(values)
    .fetch_one(connection)
    .await?;
    match (is_in_recovery, read_only.as_str()) {
        (true, _) => Err(NotPrimary::Standby.into()),
        (false, "off") => Ok(()),
        (false, _) => Err(NotPrimary::ReadOnly.into()),
    }
}

/// Like [`require_primary`], and checks what the next connections will accept, and the privileges that every
/// sign-in needs. A changed default of the database or the role applies to new connections only, so a
/// connection of the pool may still accept writes while all others are refused.
pub async fn require_writes(connection: impl PgExecutor<'_>) -> Result<(), ConnectError> {
    type Found = (bool, bool, Option<String>, Option<String>);
    let (is_in_recovery, read_only, missing_privilege, missing_table): Found = sqlx::query_as(
        "SELECT pg_is_in_recovery(),
                current_setting('transaction_read_only')::boolean
                OR coalesce((SELECT split_part(setting, '=', 2)::boolean
                               FROM pg_db_role_setting, unnest(setconfig) AS setting
                              WHERE setting LIKE 'default\\_transaction\\_read\\_only=%'
                                AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                                AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
                                AND (SELECT source <> 'client' FROM pg_settings
                                      WHERE name = 'default_transaction_read_only')
                              ORDER BY setrole = 0, setdatabase = 0
                              LIMIT 1), false),
                (SELECT privilege || ' on ' || name
                   FROM (VALUES ('users', 'SELECT'), ('users', 'UPDATE'), ('sessions', 'SELECT'),
                                ('sessions', 'INSERT'), ('sessions', 'UPDATE'), ('sessions', 'DELETE'),
                                ('throttles', 'INSERT'), ('throttles', 'UPDATE'),
                                ('audit_events', 'INSERT'), ('ended_sessions', 'INSERT'),
                                ('groups', 'SELECT'), ('group_members', 'SELECT')) AS needed (name, privilege)
                  WHERE NOT has_table_privilege(to_regclass(name), privilege)
                  LIMIT 1),
                (SELECT name
                   FROM unnest(ARRAY['users', 'sessions', 'throttles', 'audit_events']) AS name
                  WHERE NOT EXISTS (SELECT FROM pg_index
                                     WHERE indrelid = to_regclass(name) AND indisprimary AND indisvalid)
                  LIMIT 1)",
    )
    .fetch_one(connection)
    .await?;
    match (is_in_recovery, read_only, missing_table, missing_privilege) {
        (true, _, _, _) => Err(NotPrimary::Standby.into()),
        (false, true, _, _) => Err(NotPrimary::ReadOnly.into()),
        (false, false, Some(table), _) => Err(ConnectError::MissingTable(table)),
        (false, false, None, Some(privilege)) => Err(ConnectError::MissingPrivilege(privilege)),
        (false, false, None, None) => Ok(()),
    }
}

/// A pool of tested connections. A new connection to a standby is refused. A broken connection, or one whose
/// server no longer accepts writes, is detected before it is used.
pub fn pool(options: PgConnectOptions, size: u32) -> PgPool {
    pool_with_timeout(options, size, STATEMENT_TIMEOUT)
}

/// Like [`pool`], with another statement timeout, as PostgreSQL writes it.
pub(super) fn pool_with_timeout(
    options: PgConnectOptions,
    size: u32,
    statement_timeout: &str,
) -> PgPool {
    let options = options
        .application_name("frontdesk")
        .options([
            ("statement_timeout", statement_timeout),
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
                // sqlx pings again without a deadline, so a broken connection would occupy its slot in the
                // pool.
                let pinged = timeout(RETURN_DEADLINE, connection.ping()).await;
                pinged.unwrap_or_else(|_| Err(timed_out()))?;
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// Tests a new connection of a pool. sqlx closes a refused connection and retries until the acquire timeout,
/// so only the first of several refusals is logged, and the first success after them.
async fn accept_or_refuse(
    connection: &mut PgConnection,
    was_refused: &AtomicBool,
) -> sqlx::Result<()> {
    let tested = timeout(TEST_DEADLINE, require_primary(connection)).await;
    match tested {
        Ok(Ok(())) => {
            if was_refused.swap(false, Ordering::Relaxed) {
                tracing::info!("connected to a primary again");
            }
            Ok(())
        }
        Ok(Err(ConnectError::NotPrimary(reason))) => {
            if !was_refused.swap(true, Ordering::Relaxed) {
                tracing::warn!("a connection was refused: the PostgreSQL behind it {reason}");
            }
            Err(sqlx::Error::Configuration(reason.into()))
        }
        Ok(Err(error @ (ConnectError::MissingPrivilege(_) | ConnectError::MissingTable(_)))) => {
            Err(sqlx::Error::Configuration(error.into()))
        }
        Ok(Err(ConnectError::Failed(error))) => Err(error),
        Err(_) => Err(timed_out()),
    }
}

/// Closes the idle connections of the pool. Called when the primary may have changed: a demoted primary may
/// keep its connections open and return stale data.
pub async fn close_idle(pool: &PgPool) {
    for _ in 0..pool.size() {
        let Some(connection) = pool.try_acquire() else { return };
        connection.close().await.ok();
    }
}

/// Whether a connection works and its server accepts writes.
async fn accepts_writes(connection: &mut PgConnection) -> bool {
    matches!(timeout(TEST_DEADLINE, require_primary(connection)).await, Ok(Ok(())))
}
