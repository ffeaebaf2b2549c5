//! The connection that hears what changes. Believes what it hears while its own beats come back; else drops
//! the connection, and the cache is not believed until there is a new one. See `cache.rs` for why.
//!
//! ```text
//!            LISTEN, a word of pages is heard,
//!            forget everything                a beat comes back
//!  disconnected ───────────────────► doubtful ◄───────────────► trusted
//!        ▲                              │   3 s without a beat     │
//!        └────── no beat for 3 s, an error, the end of the connection ┘
//! ```
//!
//! LISTEN succeeds whatever it is told to listen to, and our own beats would come back on any channel of any database.
//! So a new connection first has to hear a word that was said the way pages change things. Beats are numbered over all
//! connections: one that was stuck in an old connection and arrives late is not taken for a newer one.
//!
//! sqlx's listener connects anew in silence and loses what was said meanwhile, so it is never asked a second
//! time after it lost its connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::{PgConnectOptions, PgListener, PgNotification, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, Row as _};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use super::barrier;
use super::moment::Moment;
use super::store::SessionCache;
use crate::db;

/// How long a beat that came back is believed, from the moment it was sent.
pub const LEASE: Duration = Duration::from_secs(3);
/// How often a beat is sent.
const BEAT: Duration = Duration::from_secs(1);
/// A beat that can not even be sent in this time ends the connection.
const SEND_DEADLINE: Duration = Duration::from_millis(1500);
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Between two attempts to connect, doubled up to the last: a new primary is found soon after it is there.
const RETRIES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// The same behind a pooler, which does not go away by itself.
const RETRY_POOLER: Duration = Duration::from_secs(30);

/// Whether sessions are served from memory just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The setting is off: every page asks the database.
    Off,
    /// No connection; every page asks the database.
    Disconnected,
    /// Connected, and no beat has come back in time; every page asks the database.
    Doubtful,
    /// Served from memory.
    Trusted,
}

impl State {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Off => "off",
            State::Disconnected => "disconnected",
            State::Doubtful => "doubtful",
            State::Trusted => "trusted",
        }
    }
}

/// What the feed is doing, for readiness and metrics.
#[derive(Debug, Default)]
pub struct Status {
    connected: AtomicBool,
    /// Connections made since the start.
    pub connections: AtomicU64,
    /// Notifications processed.
    pub notifications: AtomicU64,
}

impl Status {
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
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

/// Keeps `cache` honest until dropped or told to [`Feed::leave`].
pub struct Feed {
    pub(super) id: Uuid,
    pub(super) cache: Arc<SessionCache>,
    pub(super) status: Arc<Status>,
    pub(super) options: PgConnectOptions,
    /// The connections that pages use.
    pub(super) pages: PgPool,
    /// Beats sent so far.
    pub(super) beats: AtomicU64,
}

enum Heard {
    Beat(u64),
    Ask(i64),
    Sessions(Vec<u16>),
    Users(Vec<u16>),
    All,
}

impl Feed {
    /// Runs for ever: connects, listens, connects anew. Drop it to stop.
    pub async fn run(&self) {
        let mut complained = false;
        let mut pause = RETRIES.0;
        loop {
            let ended = self.connected().await;
            let was_connected = self.status.connected.swap(false, Ordering::Relaxed);
            let was_trusted = self.cache.trusted_until() > 0;
            // Nothing is believed past the lease anyway; this only makes it sooner.
            self.cache.trust_until(0);
            if was_trusted {
                complained = false;
                pause = RETRIES.0;
            }
            if !complained {
                complained = true;
                tracing::warn!(
                    error = %ended,
                    "sessions are not served from memory: the connection that hears of changes is gone; every page asks the database until it is back"
                );
            }
            if was_connected {
                // What ended this connection may have happened to theirs as well.
                db::shed(&self.pages).await;
            }
            let is_pooler = ended.is::<Pooler>();
            tokio::time::sleep(if is_pooler { RETRY_POOLER } else { pause }).await;
            pause = (pause * 2).min(RETRIES.1);
        }
    }

    /// Takes this server off the list of those that others wait for. Only after it has stopped serving.
    pub async fn leave(&self, pool: &PgPool) -> sqlx::Result<()> {
        self.cache.trust_until(0);
        barrier::leave(pool, self.id).await
    }

    /// One connection, to its end; answers what ended it.
    async fn connected(&self) -> anyhow::Error {
        match timeout(CONNECT_DEADLINE, self.connect()).await {
            Ok(Ok((listener, channel, pool))) => {
                let ended = self.listen(listener, &channel).await;
                // Nobody waits for a connection that may be half-open.
                tokio::spawn(timeout(CONNECT_DEADLINE, async move { pool.close().await }));
                ended
            }
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("PostgreSQL did not answer in time"),
        }
    }

    async fn connect(&self) -> anyhow::Result<(PgListener, String, PgPool)> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(self.options.clone())
            .await?;
        if shares_backends(&self.options).await? {
            anyhow::bail!(Pooler);
        }
        let channel = barrier::channel(&pool).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.ignore_pool_close_event(true);
        listener.listen(&channel).await?;
        Ok((listener, channel, pool))
    }

    /// Says a word as pages do, and waits until it is heard. What else is said meanwhile is forgotten with everything.
    async fn hears_pages(&self, listener: &mut PgListener) -> anyhow::Result<()> {
        let word = format!("hello:{}", Uuid::new_v4());
        barrier::say(&self.pages.connect_options(), &word).await?;
        while listener.try_recv().await?.context("the connection ended")?.payload() != word {}
        Ok(())
    }

    async fn listen(&self, mut listener: PgListener, channel: &str) -> anyhow::Error {
        match timeout(CONNECT_DEADLINE, self.hears_pages(&mut listener)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => {
                return anyhow::anyhow!(
                    "what pages write is not heard (does FRONTDESK_LISTEN_URL lead to the same tables as DATABASE_URL?)"
                );
            }
        }
        self.cache.forget_all();
        self.status.connected.store(true, Ordering::Relaxed);
        if self.status.connections.fetch_add(1, Ordering::Relaxed) > 0 {
            // Pages went on meanwhile, perhaps with a server that is no primary any more.
            db::shed(&self.pages).await;
        }
        let mut beats: HashMap<u64, Moment> = HashMap::new();
        let mut last_back = Instant::now();
        let mut said = false;
        let mut tick = interval(BEAT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                biased;
                _ = tick.tick() => None,
                heard = listener.try_recv() => match heard {
                    Ok(Some(notification)) => Some(notification),
                    Ok(None) => return anyhow::anyhow!("the connection ended"),
                    Err(error) => return error.into(),
                },
            };
            let Some(first) = heard else {
                if last_back.elapsed() >= LEASE {
                    return anyhow::anyhow!(
                        "notifications do not come back (a pooler in transaction mode, or a stalled link?)"
                    );
                }
                let number = self.beats.fetch_add(1, Ordering::Relaxed) + 1;
                beats.insert(number, Moment::now());
                let beat = barrier::beat(&mut listener, channel, self.id, number, LEASE);
                match timeout(SEND_DEADLINE, beat).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => return error.into(),
                    Err(_) => return anyhow::anyhow!("PostgreSQL did not take a beat in time"),
                }
            };
            // Everything that is here already, so that one answer serves many questions.
            let mut ask = None;
            let mut next = Some(first);
            while let Some(notification) = next {
                self.status.notifications.fetch_add(1, Ordering::Relaxed);
                match self.hear(&notification) {
                    Some(Heard::Beat(number)) => {
                        if let Some(sent) = beats.remove(&number) {
                            beats.retain(|older, _| *older > number);
                            last_back = Instant::now();
                            self.cache.trust_until((sent + LEASE).0);
                            if !said {
                                said = true;
                                tracing::info!("sessions are served from memory");
                            }
                        }
                    }
                    Some(Heard::Ask(number)) => ask = ask.max(Some(number)),
                    Some(Heard::Sessions(stripes)) => {
                        stripes.into_iter().for_each(|stripe| self.cache.forget_session(stripe));
                    }
                    Some(Heard::Users(stripes)) => {
                        stripes.into_iter().for_each(|stripe| self.cache.forget_user(stripe));
                    }
                    Some(Heard::All) => self.cache.forget_all(),
                    None => {}
                }
                next = listener.next_buffered();
            }
            if let Some(number) = ask {
                let answer = barrier::answer(&mut listener, self.id, number);
                match timeout(SEND_DEADLINE, answer).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error.into(),
                    Err(_) => return anyhow::anyhow!("PostgreSQL did not take an answer in time"),
                }
            }
        }
    }

    /// What a notification says; `None`: a beat of somebody else, or a word of pages. What can not be read means "forget
    /// everything": a newer server may say what we do not understand.
    fn hear(&self, notification: &PgNotification) -> Option<Heard> {
        let text = notification.payload();
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        let stripes = || -> Option<Vec<u16>> {
            rest.split(',').map(|stripe| u16::from_str_radix(stripe, 16).ok()).collect()
        };
        match word {
            "beat" => {
                let number = rest.strip_prefix(&self.id.to_string())?.strip_prefix(':')?;
                number.parse().ok().map(Heard::Beat)
            }
            "hello" => None,
            "ask" => Some(rest.parse().map_or(Heard::All, Heard::Ask)),
            "sessions" => Some(stripes().map_or(Heard::All, Heard::Sessions)),
            "users" => Some(stripes().map_or(Heard::All, Heard::Users)),
            _ => Some(Heard::All),
        }
    }
}
