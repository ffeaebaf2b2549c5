//! Handles the notifications of one connection: this server's own heartbeats, changes of sessions and users,
//! and requests of other servers to confirm an invalidation.
//!
//! Any login of the database can send any payload on the channel. Such a payload can make this server
//! invalidate entries, but it has no other effect:
//!
//! * A heartbeat is accepted only with the nonce that this server generated for it, which no one can know
//!   before the heartbeat is committed. A replayed heartbeat is ignored.
//! * A request for confirmation (`ask:n`) is only a hint. The last number drawn is read from the sequence,
//!   and the confirmation follows a notification that this server sent to itself after that read
//!   (`barrier.rs`).

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::postgres::{PgListener, PgNotification};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use super::SessionCache;
use super::clock::MonotonicInstant;
use super::leases::{self, LEASE};
use super::peer_heartbeats::PeerHeartbeats;

/// The interval of heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// If a statement takes longer, the connection is closed.
const SEND_DEADLINE: Duration = Duration::from_millis(1500);

/// A notification that this server sent to itself and has not received yet.
struct PendingEcho {
    /// Its sequence number on this connection.
    position: u64,
    /// For a heartbeat: when it was sent.
    heartbeat_sent: Option<MonotonicInstant>,
    /// The last number that had been drawn for a request for confirmation before this was sent.
    last_drawn: i64,
}

/// The state of one notification connection.
pub(in crate::session) struct NotificationLoop<'f> {
    /// The id of this server in its heartbeats.
    id: Uuid,
    cache: &'f SessionCache,
    /// Counts notifications.
    received: &'f AtomicU64,
    peer_heartbeats: &'f PeerHeartbeats,
    listener: PgListener,
    channel: String,
    /// By the nonce in the payload.
    pending_echoes: HashMap<Uuid, PendingEcho>,
    sent: u64,
    /// `session_cache_resets.resets` at the last invalidation of everything; `None` before the first
    /// heartbeat.
    resets: Option<i64>,
    /// The number that was confirmed last.
    confirmed: i64,
    /// A request for confirmation was received, and no probe was sent since.
    needs_probe: bool,
    last_heartbeat: Instant,
    has_been_live: bool,
}

/// The content of a notification that concerns this server.
enum Payload {
    /// A notification that this server sent to itself, with its nonce.
    Echo(Uuid),
    /// A heartbeat or probe of another server.
    PeerHeartbeat(Uuid),
    /// A server requests a confirmation with this number.
    ConfirmationRequest(i64),
    /// Sessions of these stripes changed or ended.
    Sessions(Vec<u16>),
    /// Users of these stripes changed.
    Users(Vec<u16>),
    /// Invalidate everything.
    All,
}

impl<'f> NotificationLoop<'f> {
    /// `listener` listens on `channel`, and the whole cache was invalidated after LISTEN took effect.
    pub(in crate::session) fn new(
        id: Uuid,
        cache: &'f SessionCache,
        received: &'f AtomicU64,
        peer_heartbeats: &'f PeerHeartbeats,
        listener: PgListener,
        channel: String,
    ) -> Self {
        Self {
            id,
            cache,
            received,
            peer_heartbeats,
            listener,
            channel,
            pending_echoes: HashMap::new(),
            sent: 0,
            resets: None,
            confirmed: 0,
            needs_probe: false,
            last_heartbeat: Instant::now(),
            has_been_live: false,
        }
    }

    /// Runs until the connection fails, and returns the error.
    pub(in crate::session) async fn run(mut self) -> anyhow::Error {
        match self.run_until_error().await {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }

    async fn run_until_error(&mut self) -> anyhow::Result<Infallible> {
        let mut tick = interval(HEARTBEAT_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match self.next_notification(&mut tick).await? {
                Some(first) => self.handle_all(first).await?,
                None if self.last_heartbeat.elapsed() >= LEASE => bail!(
                    "notifications are not received back (a pooler in transaction mode, or a stalled connection?)"
                ),
                None => self.send_heartbeat().await?,
            }
        }
    }

    /// Waits for a notification. `None`: a heartbeat is due.
    async fn next_notification(
        &mut self,
        tick: &mut Interval,
    ) -> anyhow::Result<Option<PgNotification>> {
        tokio::select! {
            biased;
            _ = tick.tick() => Ok(None),
            received = self.listener.try_recv() => Ok(Some(received?.context("the connection ended")?)),
        }
    }

    /// Handles `first` and all notifications that have already arrived, so that one confirmation serves many
    /// requests.
    async fn handle_all(&mut self, first: PgNotification) -> anyhow::Result<()> {
        let mut processed = None;
        let mut next = Some(first);
        while let Some(notification) = next {
            self.received.fetch_add(1, Ordering::Relaxed);
            if let Some(payload) = self.parse(notification.payload()) {
                processed = self.handle(payload).or(processed);
            }
            next = self.listener.next_buffered();
        }
        if let Some(number) = processed {
            self.peer_heartbeats.record_processed(number, MonotonicInstant::now());
        }
        if let Some(number) = processed.filter(|number| *number != self.confirmed) {
            self.confirm(number).await?;
        }
        if self.needs_probe {
            self.send_probe().await?;
        }
        Ok(())
    }

    /// Parses a payload. `None`: the probe of a new connection, or a malformed heartbeat. An unknown
    /// payload means "invalidate everything", because a newer version may send payloads that this version
    /// does not know.
    fn parse(&self, text: &str) -> Option<Payload> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let stripes = || -> Option<Vec<u16>> {
            rest.split(',').map(|stripe| u16::from_str_radix(stripe, 16).ok()).collect()
        };
        match kind {
            "beat" => {
                let (server, nonce) = rest.split_once(':')?;
                let server: Uuid = server.parse().ok()?;
                if server != self.id {
                    return Some(Payload::PeerHeartbeat(server));
                }
                nonce.parse().ok().map(Payload::Echo)
            }
            "hello" => None,
            "ask" => Some(rest.parse().map_or(Payload::All, Payload::ConfirmationRequest)),
            "sessions" => Some(stripes().map_or(Payload::All, Payload::Sessions)),
            "users" => Some(stripes().map_or(Payload::All, Payload::Users)),
            _ => Some(Payload::All),
        }
    }

    /// Applies a payload. For an echo, returns the last number that was drawn before the echo was sent: every
    /// change that was committed before that number was drawn has been processed.
    fn handle(&mut self, payload: Payload) -> Option<i64> {
        let cache = self.cache;
        match payload {
            Payload::Echo(nonce) => return self.handle_echo(nonce),
            Payload::PeerHeartbeat(server) => {
                self.peer_heartbeats.record(server, MonotonicInstant::now());
            }
            Payload::ConfirmationRequest(number) => self.needs_probe |= number != self.confirmed,
            Payload::Sessions(stripes) => {
                stripes.into_iter().for_each(|stripe| cache.invalidate_session(stripe));
            }
            Payload::Users(stripes) => {
                stripes.into_iter().for_each(|stripe| cache.invalidate_user(stripe));
            }
            Payload::All => cache.invalidate_all(),
        }
        None
    }

    fn handle_echo(&mut self, nonce: Uuid) -> Option<i64> {
        let echo = self.pending_echoes.remove(&nonce)?;
        self.pending_echoes.retain(|_, other| other.position > echo.position);
        if let Some(sent) = echo.heartbeat_sent {
            self.last_heartbeat = Instant::now();
            self.cache.set_live_until((sent + LEASE).0);
            if !self.has_been_live {
                self.has_been_live = true;
                tracing::info!("sessions are served from the cache");
            }
        }
        Some(echo.last_drawn)
    }

    /// Sends a heartbeat, which renews the lease when it is received back, and reads the number of changes
    /// without a notification.
    async fn send_heartbeat(&mut self) -> anyhow::Result<()> {
        let (nonce, sent) = (Uuid::new_v4(), MonotonicInstant::now());
        let heartbeat = leases::send_heartbeat(&mut self.listener, &self.channel, self.id, nonce);
        let heartbeat = timeout(SEND_DEADLINE, heartbeat)
            .await
            .context("PostgreSQL did not accept a heartbeat in time")??;
        if self.resets != Some(heartbeat.resets) {
            self.cache.invalidate_all();
            self.resets = Some(heartbeat.resets);
        }
        self.expect_echo(nonce, Some(sent), heartbeat.last_drawn);
        Ok(())
    }

    /// Reads the last number drawn and sends a notification to this server. When it is received back,
    /// everything that was committed before that number was drawn has been processed here.
    async fn send_probe(&mut self) -> anyhow::Result<()> {
        self.needs_probe = false;
        let nonce = Uuid::new_v4();
        let probe = leases::send_probe(&mut self.listener, &self.channel, self.id, nonce);
        let last_drawn = timeout(SEND_DEADLINE, probe)
            .await
            .context("PostgreSQL did not accept a notification in time")??;
        self.expect_echo(nonce, None, last_drawn);
        Ok(())
    }

    /// Registers a notification that was sent. It cannot be missed, because the loop reads notifications only
    /// afterwards.
    fn expect_echo(
        &mut self,
        nonce: Uuid,
        heartbeat_sent: Option<MonotonicInstant>,
        last_drawn: i64,
    ) {
        self.sent += 1;
        let echo = PendingEcho { position: self.sent, heartbeat_sent, last_drawn };
        self.pending_echoes.insert(nonce, echo);
    }

    async fn confirm(&mut self, number: i64) -> anyhow::Result<()> {
        let confirmation = leases::confirm(&mut self.listener, self.id, number, self.resets);
        let is_confirmed = timeout(SEND_DEADLINE, confirmation)
            .await
            .context("PostgreSQL did not accept a confirmation in time")??;
        if is_confirmed {
            self.confirmed = number;
            return Ok(());
        }
        // Something changed without a notification. The heartbeat reads the new number, and its echo
        // confirms.
        self.send_heartbeat().await
    }
}
