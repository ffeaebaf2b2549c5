//! The notification connection: LISTEN on one connection, and invalidate the cache as changes are announced. The cache is
//! believed while this server's own heartbeats come back; otherwise the connection is dropped, and the cache is not
//! believed until there is a new one. `cache.rs` says why that is right.
//!
//! ```text
//!            LISTEN, hear the pages,
//!            forget everything              a heartbeat comes back
//!  disconnected ───────────────────► doubtful ◄───────────────► trusted
//!        ▲                              │   3 s without a heartbeat │
//!        └── no heartbeat for 3 s, an error, the end of the connection ┘
//! ```
//!
//! LISTEN succeeds on any channel of any database, so a new connection first has to hear a random word that was sent by a
//! connection like those of the pages. What is said afterwards is in `conversation.rs`.
//!
//! sqlx's listener reconnects silently and loses what was sent meanwhile, so it is never used again after it lost its
//! connection.

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
use super::barrier;
use super::notification_loop::MessageLoop;
use crate::db;

/// For the statements of this connection, a little longer than they are waited for, so that none outlives its connection
/// for long.
const STATEMENT_TIMEOUT: &str = "2s";
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// The first pause before a new attempt, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause while no primary can be connected to: a new one is found soon after it is there.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause when a connection was made and then failed: each attempt costs PostgreSQL a backend, and behind a full
/// notification queue LISTEN reads all of the queue.
const LONGEST_PAUSE_CONNECTED: Duration = Duration::from_secs(30);

/// Whether sessions are served from memory just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// The setting is off: every page asks the database.
    Off,
    /// No connection; every page asks the database.
    Disconnected,
    /// Connected, and no beat has come back in time; every page asks the database.
    Stale,
    /// Served from memory.
    Live,
}

impl CacheState {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            CacheState::Off => "off",
            CacheState::Disconnected => "disconnected",
            CacheState::Stale => "doubtful",
            CacheState::Live => "trusted",
        }
    }
}

/// What the feed is doing, for readiness and metrics.
#[derive(Debug, Default)]
pub struct Status {
    connected: AtomicBool,
    /// When the PostgreSQL that the notifications come from was started, in microseconds since 1970. Zero: not connected yet.
    server: AtomicI64,
    /// Connections made since the start.
    pub connections: AtomicU64,
    /// Notifications processed.
    pub notifications: AtomicU64,
}

impl Status {
    pub(in crate::session) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Whether notifications come from `server`. Only what was read there may be cached: another server, a standby that a
    /// proxy also leads to, may be behind, and its changes are not heard of.
    pub(in crate::session) fn comes_from(&self, server: OffsetDateTime) -> bool {
        self.server.load(Ordering::Acquire) == microseconds(server)
    }
}

/// The start of a PostgreSQL server identifies it: a primary and its standbys share the system identifier, and their
/// addresses may be the same behind a proxy.
fn microseconds(started: OffsetDateTime) -> i64 {
    (started.unix_timestamp_nanos() / 1000) as i64
}

/// How full PostgreSQL's notification queue is, from 0 to 1. One listening connection of any application that stays in a
/// transaction keeps it from being emptied, and a full queue refuses every commit that notifies. To ask also makes
/// PostgreSQL discard what every listener has read, which it does not do by itself while the queue is full.
pub async fn notification_queue_usage(at: impl PgExecutor<'_>) -> sqlx::Result<f64> {
    sqlx::query_scalar("SELECT pg_notification_queue_usage()").fetch_one(at).await
}

/// Whether a pooler in transaction mode stands between: two connections meet the same backend, or one of them
/// two. To LISTEN there would not only be in vain: the notifications would reach whoever uses that backend
/// next, and break what they are doing.
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
    "a pooler in transaction mode stands between; set FRONTDESK_LISTEN_URL to PostgreSQL itself"
)]
struct Pooler;

/// Keeps `cache` honest until dropped or told to [`InvalidationListener::leave`].
pub struct InvalidationListener {
    pub(in crate::session) id: Uuid,
    pub(in crate::session) cache: Arc<SessionCache>,
    pub(in crate::session) status: Arc<Status>,
    pub(in crate::session) options: PgConnectOptions,
    /// The connections that pages use.
    pub(in crate::session) pages: PgPool,
    /// The backend of an attempt to LISTEN that did not come to its end.
    pub(in crate::session) unfinished: Mutex<Option<Backend>>,
}

/// A process of PostgreSQL that serves one connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Backend {
    pid: i32,
    started: OffsetDateTime,
}

/// Why a connection ended, or was not made.
struct Ended {
    why: anyhow::Error,
    /// It was made, and failed afterwards.
    was_made: bool,
}

/// A connection that listens.
struct Listening {
    listener: PgListener,
    channel: String,
    /// What `listener` belongs to.
    pool: PgPool,
}

impl InvalidationListener {
    /// Runs for ever: connects, listens, connects again. Drop it to stop.
    pub async fn run(&self) {
        // A panic ended the last run without these.
        self.status.connected.store(false, Ordering::Relaxed);
        self.cache.set_live_until(0);
        let mut complained = false;
        let mut pause = FIRST_PAUSE;
        loop {
            let Ended { why, was_made } = self.connected().await;
            let was_connected = self.status.connected.swap(false, Ordering::Relaxed);
            let was_trusted = self.cache.live_until() > 0;
            // Nothing is believed past the lease anyway; this only makes it sooner.
            self.cache.set_live_until(0);
            if was_trusted {
                complained = false;
                pause = FIRST_PAUSE;
            }
            if !complained {
                complained = true;
                tracing::warn!(
                    error = format!("{why:#}"),
                    "sessions are not served from memory: the connection that hears of changes is gone; every page asks the database until it is back"
                );
            } else {
                tracing::debug!(error = format!("{why:#}"), "another attempt to listen failed");
            }
            if was_connected {
                // What ended this connection may have happened to theirs as well.
                db::close_idle(&self.pages).await;
            }
            let longest = if was_made { LONGEST_PAUSE_CONNECTED } else { LONGEST_PAUSE };
            tokio::time::sleep(if why.is::<Pooler>() { longest } else { pause.min(longest) }).await;
            pause = (pause * 2).min(LONGEST_PAUSE_CONNECTED);
        }
    }

    /// Takes this server off the list of those that others wait for. Only after it has stopped serving.
    pub async fn leave(&self, pool: &PgPool) -> sqlx::Result<()> {
        self.cache.set_live_until(0);
        barrier::leave(pool, self.id).await
    }

    /// One connection, to its end.
    async fn connected(&self) -> Ended {
        let connection = match timeout(CONNECT_DEADLINE, self.connect()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(why)) => return Ended { was_made: was_made(&why), why },
            Err(_) => {
                let was_made = self.unfinished().is_some();
                return Ended {
                    why: anyhow::anyhow!("PostgreSQL did not answer in time"),
                    was_made,
                };
            }
        };
        let Listening { listener, channel, pool } = connection;
        let why = self.listen(listener, channel).await;
        // Nobody waits for a connection that may be half-open.
        tokio::spawn(timeout(CONNECT_DEADLINE, async move { pool.close().await }));
        Ended { why, was_made: true }
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
            bail!(Pooler);
        }
        let channel = barrier::channel(&pool).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.ignore_pool_close_event(true);
        db::require_primary(&mut listener).await?;
        // PostgreSQL looks whether the client is still there while it works for it. Not every platform can.
        listener.execute("SET client_connection_check_interval = '1s'").await.ok();
        // Without this a queue that was full stays full after its cause is gone (see `notification_queue_usage`).
        notification_queue_usage(&mut listener).await?;
        let (backend, server) = backend_of(&mut listener).await?;
        // Behind a full queue LISTEN reads all of it and cannot be interrupted. Until that backend is gone, no other
        // attempt is made.
        *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner) = Some(backend);
        listener.listen(&channel).await?;
        *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.status.server.store(microseconds(server), Ordering::Release);
        Ok(Listening { listener, channel, pool })
    }

    fn unfinished(&self) -> Option<Backend> {
        *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels the attempt before this one if it timed out; an error while its backend is still there.
    async fn end_unfinished(&self) -> anyhow::Result<()> {
        let Some(Backend { pid, started }) = self.unfinished() else { return Ok(()) };
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let is_there: Option<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2",
        )
        .bind(pid)
        .bind(started)
        .fetch_optional(&mut connection)
        .await?;
        let usage = notification_queue_usage(&mut connection).await?;
        connection.close().await.ok();
        if is_there.is_some() {
            bail!(
                "the attempt before has not ended yet: LISTEN reads a notification queue that is {:.0} % full",
                usage * 100.0
            );
        }
        *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Sends a word as pages do, and waits until it is heard. What else is announced meanwhile is forgotten with everything.
    async fn hears_pages(&self, listener: &mut PgListener) -> anyhow::Result<()> {
        let word = format!("hello:{}", Uuid::new_v4());
        barrier::notify(&self.pages.connect_options(), &word).await?;
        while listener.try_recv().await?.context("the connection ended")?.payload() != word {}
        Ok(())
    }

    /// Listens until the connection is of no more use; answers why.
    async fn listen(&self, mut listener: PgListener, channel: String) -> anyhow::Error {
        match timeout(CONNECT_DEADLINE, self.hears_pages(&mut listener)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => {
                return anyhow::anyhow!(
                    "what pages write is not heard (does FRONTDESK_LISTEN_URL lead to the same tables as DATABASE_URL?)"
                );
            }
        }
        self.cache.invalidate_all();
        self.status.connected.store(true, Ordering::Relaxed);
        if self.status.connections.fetch_add(1, Ordering::Relaxed) > 0 {
            // Pages went on meanwhile, perhaps with a server that is no primary any more.
            db::close_idle(&self.pages).await;
        }
        let heard = &self.status.notifications;
        MessageLoop::new(self.id, &self.cache, heard, listener, channel).run().await
    }
}

/// Whether a connection had been made before `why` happened.
fn was_made(why: &anyhow::Error) -> bool {
    matches!(why.downcast_ref(), Some(sqlx::Error::Database(_))) || why.is::<Pooler>()
}

/// The process of PostgreSQL behind a connection, and when that PostgreSQL was started.
async fn backend_of(listener: &mut PgListener) -> sqlx::Result<(Backend, OffsetDateTime)> {
    let row = sqlx::query!(
        r#"
        SELECT pid AS "pid!", backend_start AS "started!", pg_postmaster_start_time() AS "server!"
          FROM pg_stat_activity
         WHERE pid = pg_backend_pid()
        "#,
    )
    .fetch_one(listener)
    .await?;
    Ok((Backend { pid: row.pid, started: row.started }, row.server))
}
