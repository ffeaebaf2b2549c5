//! The notification connection: LISTENs on one connection and invalidates cache entries as changes are
//! notified. The cache is live while this server receives its own heartbeats. Otherwise the connection is
//! closed, and the cache is not live until a new connection is open. `entries.rs` explains why this is
//! correct.
//!
//! ```text
//!           LISTEN, receive the probe,
//!           invalidate everything            a heartbeat is received
//!  disconnected ───────────────────► stale ◄───────────────────► live
//!        ▲                             │   3 s without a heartbeat │
//!        └── no heartbeat for 3 s, an error, the end of the connection ┘
//! ```
//!
//! LISTEN succeeds on any channel of any database. So a new connection must first receive a random payload
//! that was sent over a connection with the options of the request pool. `notification_loop.rs` handles
//! everything that follows.
//!
//! sqlx's listener reconnects silently and loses the notifications that were sent in the meantime. So a
//! listener is dropped when its connection is lost.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, PgConnection, PgExecutor, PgPool, Row as _};
use time::OffsetDateTime;
use tokio::time::timeout;
use uuid::Uuid;

use super::SessionCache;
use super::leases;
use super::notification_loop::NotificationLoop;
use super::peer_heartbeats::PeerHeartbeats;
use crate::db;

/// The statement timeout of this connection. It is a little longer than the deadlines of the callers, so that
/// PostgreSQL ends an abandoned statement soon after its connection.
const STATEMENT_TIMEOUT: &str = "2s";
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// The initial pause before a new connection attempt. It doubles each time.
const INITIAL_PAUSE: Duration = Duration::from_millis(200);
/// The maximum pause while no connection to a primary can be opened. Short, so that a new primary is found
/// soon.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// The maximum pause after an opened connection failed: each attempt costs PostgreSQL a backend process, and
/// while the notification queue is full, LISTEN reads the whole queue.
const MAX_PAUSE_AFTER_OPEN: Duration = Duration::from_secs(30);

/// Whether sessions are served from the cache at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// The cache is turned off: every request queries the database.
    Off,
    /// No notification connection: every request queries the database.
    Disconnected,
    /// Connected, but no heartbeat was received back in time: every request queries the database.
    Stale,
    /// Sessions are served from the cache.
    Live,
}

impl CacheState {
    /// The value in metrics and in the readiness response.
    pub fn as_str(self) -> &'static str {
        match self {
            CacheState::Off => "off",
            CacheState::Disconnected => "disconnected",
            CacheState::Stale => "doubtful",
            CacheState::Live => "trusted",
        }
    }
}

/// The status of the notification connection, for readiness and metrics.
#[derive(Debug, Default)]
pub struct ListenerStatus {
    connected: AtomicBool,
    /// The start time of the PostgreSQL server that the notifications come from, in microseconds since 1970.
    /// Zero: never connected.
    server_started: AtomicI64,
    /// Connections opened since the start of this process.
    pub connections: AtomicU64,
    /// Notifications processed.
    pub notifications: AtomicU64,
    /// Heartbeats of other servers.
    pub(in crate::session) peer_heartbeats: Arc<PeerHeartbeats>,
}

impl ListenerStatus {
    pub(in crate::session) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Whether the notifications come from the PostgreSQL server that was started at `started`. Only rows
    /// from that server may be cached: another server, such as a standby behind the same proxy, can lag
    /// behind.
    pub(in crate::session) fn comes_from(&self, started: OffsetDateTime) -> bool {
        self.server_started.load(Ordering::Acquire) == microseconds(started)
    }
}

/// A PostgreSQL server is identified by its start time: a primary and its standbys have the same system
/// identifier, and behind a proxy they can have the same IP address.
fn microseconds(started: OffsetDateTime) -> i64 {
    (started.unix_timestamp_nanos() / 1000) as i64
}

/// How full PostgreSQL's notification queue is, from 0 to 1. A listening connection of any application that
/// stays in a transaction prevents the queue from being emptied, and while it is full, every commit that
/// notifies fails. The query also makes PostgreSQL discard what all listeners have read, which it does not do
/// automatically while the queue is full.
pub async fn notification_queue_usage(executor: impl PgExecutor<'_>) -> sqlx::Result<f64> {
    sqlx::query_scalar("SELECT pg_notification_queue_usage()").fetch_one(executor).await
}

/// Whether there is a pooler in transaction mode between this process and PostgreSQL: two connections share a
/// backend, or one connection uses two. LISTEN through such a pooler does not work and disturbs others: the
/// next client of that backend would receive the notifications.
pub async fn shares_backends(options: &PgConnectOptions) -> sqlx::Result<bool> {
    async fn backend(connection: &mut PgConnection) -> sqlx::Result<i32> {
        sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await?.try_get(0)
    }
    let mut one = PgConnection::connect_with(options).await?;
    let mut other = PgConnection::connect_with(options).await?;
    let mut shares = false;
    for _ in 0..3 {
        let before = backend(&mut one).await?;
        sqlx::raw_sql("BEGIN").execute(&mut other).await?;
        shares |= backend(&mut other).await? == before || backend(&mut one).await? != before;
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await?;
    }
    one.close().await.ok();
    other.close().await.ok();
    Ok(shares)
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the connection goes through a pooler in transaction mode; set FRONTDESK_LISTEN_URL to PostgreSQL itself"
)]
struct TransactionPooler;

/// Receives notifications and invalidates `cache`.
pub struct InvalidationListener {
    pub(in crate::session) id: Uuid,
    pub(in crate::session) cache: Arc<SessionCache>,
    pub(in crate::session) status: Arc<ListenerStatus>,
    pub(in crate::session) options: PgConnectOptions,
    /// The connections that requests use.
    pub(in crate::session) request_pool: PgPool,
    /// The backend process of a LISTEN that has not finished.
    pub(in crate::session) unfinished: Mutex<Option<BackendProcess>>,
}

/// A PostgreSQL process that serves one connection. Process IDs are reused, so the start time is part of its
/// identity.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct BackendProcess {
    pid: i32,
    started: OffsetDateTime,
}

/// The end of a connection, or a failed attempt to connect.
struct Disconnection {
    error: anyhow::Error,
    /// The connection was opened and failed afterwards.
    was_opened: bool,
}

/// A connection on which LISTEN has taken effect.
struct Listening {
    listener: PgListener,
    channel: String,
    /// The pool of the one connection of `listener`.
    pool: PgPool,
}

impl InvalidationListener {
    /// Connects, listens and reconnects. Never returns; drop the future to stop it.
    pub async fn run(&self) {
        // Not reset if the previous run panicked.
        self.status.connected.store(false, Ordering::Relaxed);
        self.cache.set_live_until(0);
        let mut is_reported = false;
        let mut pause = INITIAL_PAUSE;
        loop {
            let Disconnection { error, was_opened } = self.connect_and_listen().await;
            // Heartbeats of other servers are missed from now on.
            self.status.peer_heartbeats.clear();
            let was_connected = self.status.connected.swap(false, Ordering::Relaxed);
            let was_live = self.cache.live_until() > 0;
            // The cache would become stale at the end of the lease anyway; this makes it stale immediately.
            self.cache.set_live_until(0);
            if was_live {
                is_reported = false;
                pause = INITIAL_PAUSE;
            }
            if !is_reported {
                is_reported = true;
                tracing::warn!(
                    error = db::explain(&error),
                    "sessions are not served from the cache because the notification connection is down; every request queries the database until it is restored"
                );
            } else {
                tracing::debug!(error = db::explain(&error), "another attempt to listen failed");
            }
            if was_connected {
                // The cause, such as a restart of PostgreSQL, may have closed idle connections of the pool
                // too.
                db::close_idle(&self.request_pool).await;
            }
            let longest = if was_opened { MAX_PAUSE_AFTER_OPEN } else { MAX_PAUSE };
            let is_pooler = error.is::<TransactionPooler>();
            tokio::time::sleep(if is_pooler { longest } else { pause.min(longest) }).await;
            pause = (pause * 2).min(MAX_PAUSE_AFTER_OPEN);
        }
    }

    /// Removes this server from the servers that a revocation waits for. Call it only after the server has
    /// stopped.
    pub async fn deregister(&self, pool: &PgPool) -> sqlx::Result<()> {
        self.cache.set_live_until(0);
        leases::deregister(pool, self.id).await
    }

    /// Opens one connection and listens until it ends.
    async fn connect_and_listen(&self) -> Disconnection {
        let connection = match timeout(CONNECT_DEADLINE, self.connect()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Disconnection { was_opened: was_opened(&error), error },
            Err(_) => {
                let was_opened = self.unfinished().is_some();
                let error = anyhow::anyhow!("PostgreSQL did not respond in time");
                return Disconnection { error, was_opened };
            }
        };
        let Listening { listener, channel, pool } = connection;
        let error = self.listen(listener, channel).await;
        // In a separate task, because closing a half-open connection can block.
        tokio::spawn(timeout(CONNECT_DEADLINE, async move { pool.close().await }));
        Disconnection { error, was_opened: true }
    }

    async fn connect(&self) -> anyhow::Result<Listening> {
        self.end_unfinished().await?;
        let options = self.options.clone().options([("statement_timeout", STATEMENT_TIMEOUT)]);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(options)
            .await?;
        if shares_backends(&self.options).await? {
            bail!(TransactionPooler);
        }
        let channel = leases::channel(&pool).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.ignore_pool_close_event(true);
        db::require_primary(&mut listener).await?;
        // PostgreSQL then checks during a statement whether the client is still connected. Not every platform
        // supports it.
        listener.execute("SET client_connection_check_interval = '1s'").await.ok();
        // Otherwise a full queue would stay full after the blocking transaction has ended (see
        // `notification_queue_usage`).
        notification_queue_usage(&mut listener).await?;
        let (backend, server_started) = backend_of(&mut listener).await?;
        // While the queue is full, LISTEN reads all of it and cannot be interrupted. As long as that backend
        // process exists, no other attempt is made.
        self.set_unfinished(Some(backend));
        listener.listen(&channel).await?;
        self.set_unfinished(None);
        self.status.server_started.store(microseconds(server_started), Ordering::Release);
        Ok(Listening { listener, channel, pool })
    }

    fn unfinished(&self) -> Option<BackendProcess> {
        *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_unfinished(&self, backend: Option<BackendProcess>) {
        *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner) = backend;
    }

    /// Terminates the backend process of the previous attempt if that attempt timed out. Returns an error
    /// while the process still exists.
    async fn end_unfinished(&self) -> anyhow::Result<()> {
        let Some(BackendProcess { pid, started }) = self.unfinished() else { return Ok(()) };
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let terminated: Option<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2",
        )
        .bind(pid)
        .bind(started)
        .fetch_optional(&mut connection)
        .await?;
        let usage = notification_queue_usage(&mut connection).await?;
        connection.close().await.ok();
        if terminated.is_some() {
            bail!(
                "the previous attempt has not ended yet: LISTEN reads a notification queue that is {:.0} % full",
                usage * 100.0
            );
        }
        self.set_unfinished(None);
        Ok(())
    }

    /// Sends a random payload over a connection with the options of the request pool, and waits until the
    /// listener receives it. Other notifications that arrive in the meantime are dropped, because everything
    /// is invalidated afterwards.
    async fn receive_probe(&self, listener: &mut PgListener) -> anyhow::Result<()> {
        let payload = format!("hello:{}", Uuid::new_v4());
        leases::notify(&self.request_pool.connect_options(), &payload).await?;
        while listener.try_recv().await?.context("the connection ended")?.payload() != payload {}
        Ok(())
    }

    /// Handles notifications until the connection fails, and returns the error.
    async fn listen(&self, mut listener: PgListener, channel: String) -> anyhow::Error {
        match timeout(CONNECT_DEADLINE, self.receive_probe(&mut listener)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => {
                return anyhow::anyhow!(
                    "a notification that was sent over DATABASE_URL does not arrive (do FRONTDESK_LISTEN_URL and DATABASE_URL refer to the same database?)"
                );
            }
        }
        self.cache.invalidate_all();
        self.status.peer_heartbeats.clear();
        self.status.connected.store(true, Ordering::Relaxed);
        if self.status.connections.fetch_add(1, Ordering::Relaxed) > 0 {
            // After a failover, idle connections of the request pool may still be connected to the former
            // primary.
            db::close_idle(&self.request_pool).await;
        }
        let (received, heartbeats) = (&self.status.notifications, &self.status.peer_heartbeats);
        NotificationLoop::new(self.id, &self.cache, received, heartbeats, listener, channel)
            .run()
            .await
    }
}

/// Whether the connection was open when `error` occurred.
fn was_opened(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(sqlx::Error::Database(_)))
        || error.is::<TransactionPooler>()
}

/// The PostgreSQL process of a connection, and the start time of that PostgreSQL server.
async fn backend_of(listener: &mut PgListener) -> sqlx::Result<(BackendProcess, OffsetDateTime)> {
    let row = sqlx::query!(
        r#"
        SELECT pid AS "pid!", backend_start AS "started!", pg_postmaster_start_time() AS "server!"
          FROM pg_stat_activity
         WHERE pid = pg_backend_pid()
        "#,
    )
    .fetch_one(listener)
    .await?;
    Ok((BackendProcess { pid: row.pid, started: row.started }, row.server))
}
