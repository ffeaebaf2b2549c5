//! Connections that outlive a request, such as WebSockets and event streams, and their end with the session. The
//! job of `PgSessionStore::check_watched` asks the database for the sessions that `cache/watch.rs` queues, with
//! the same batched statement as requests.
//!
//! While notifications arrive, nothing is asked unless a session is revoked, changed or about to expire.
//! Otherwise all watched sessions are asked for every three seconds.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{TryStreamExt as _, stream};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::PgSessionStore;
use super::cache::clock::MonotonicInstant;
use super::cache::invalidation::CacheState;
use super::cache::watch::{Registration, TRUST, WatchedSession};
use super::cache::watch_state::Phase;
use super::cache::{session_stripe, user_stripe};
use super::last_seen::{FLUSH_INTERVAL, SessionActivity};
use super::revoke::{self, Cause};
use crate::crypto::secret::Digest;
use crate::db;
use crate::id::UserId;

/// How often the times of watched sessions are compared with the clock.
const TICK: Duration = Duration::from_millis(500);
/// How many look-ups a round has in flight: more would delay those of requests.
const CONCURRENT_CHECKS: usize = 512;

/// Why a watched session ended.
///
/// ```
/// use frontdesk::CurrentUser;
/// use frontdesk::live::EndReason;
///
/// /// What a page may tell the user before the connection is closed.
/// async fn last_message(user: CurrentUser) -> Option<&'static str> {
///     match user.ended().await {
///         EndReason::SignedOut => None,
///         EndReason::ServerStopping | EndReason::TooManyConnections => Some("Connect again."),
///         _ => Some("Sign in again."),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum EndReason {
    /// The user signed out in this browser.
    SignedOut,
    /// The session was ended elsewhere: from the list of sessions, by a change of the password or of another
    /// credential, by an operator, by the deletion of its row, or with the account. Its browser may have another
    /// session by now.
    Revoked,
    /// The user was not active for the idle timeout of the session.
    IdleTimeout,
    /// The maximum lifetime of the session has passed.
    AbsoluteTimeout,
    /// The database could not be asked for half a minute.
    Unverified,
    /// This server stops. The session itself continues.
    ServerStopping,
    /// The session has opened more than a hundred connections to this server: the oldest one ends. The session itself
    /// continues.
    TooManyConnections,
}

impl EndReason {
    const ALL: [Self; 7] = [
        Self::SignedOut,
        Self::Revoked,
        Self::IdleTimeout,
        Self::AbsoluteTimeout,
        Self::Unverified,
        Self::ServerStopping,
        Self::TooManyConnections,
    ];

    fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Revoked)
    }
}

/// A session that is watched until this is dropped.
pub struct SessionWatch {
    store: PgSessionStore,
    registration: Registration,
    ip: Option<IpAddr>,
}

impl SessionWatch {
    /// Returns when the session has ended.
    pub async fn ended(&self) -> EndReason {
        loop {
            let changed = self.watched().changed.notified();
            if let Phase::Ended(reason) = self.watched().state.phase() {
                return EndReason::of(reason);
            }
            changed.await;
        }
    }

    /// Whether the session is known to be live. `false` while it is being checked.
    pub fn is_live(&self) -> bool {
        self.watched().state.phase() == Phase::Live
            && (self.store.cache_state() == CacheState::Live
                || MonotonicInstant::now() < self.watched().trusted_at() + TRUST)
    }

    /// Waits while the session is being checked, and returns whether it is live.
    pub async fn check_live(&self) -> bool {
        loop {
            let changed = self.watched().changed.notified();
            if matches!(self.watched().state.phase(), Phase::Ended(_)) {
                return false;
            }
            if self.is_live() {
                return true;
            }
            changed.await;
        }
    }

    /// The user was active. Written at most once per update interval of the session.
    pub fn record_activity(&self) {
        let Some(activity) = self.watched().activity.get() else { return };
        let now = MonotonicInstant::now();
        self.store.last_seen().record_message(&self.watched().digest, self.ip, activity, now);
        // The row could expire before the loop writes it.
        if now + 3 * FLUSH_INTERVAL >= self.watched().expires_at() {
            let store = self.store.clone();
            tokio::spawn(async move { store.last_seen().flush_and_log().await });
        }
    }

    fn watched(&self) -> &WatchedSession {
        &self.registration.watched
    }
}

impl PgSessionStore {
    /// Watches the session of `digest`, of `user`, for a connection from `ip`.
    pub fn watch(&self, digest: Digest, user: UserId, ip: Option<IpAddr>) -> SessionWatch {
        let stripes = [session_stripe(&digest), user_stripe(user)];
        let registration = self.cache.watchers.register(digest, stripes);
        let watched = &registration.watched;
        let found_at = MonotonicInstant::now();
        let check = watched.state.begin();
        let entry = self.cached(&watched.digest, found_at);
        match check.zip(entry) {
            Some((check, entry)) => {
                watched.activity.set(Arc::clone(&entry.value.activity)).ok();
                watched.record_found(found_at, entry.value.expiry);
                if !watched.state.confirm(check) {
                    self.cache.watchers.queue(Arc::clone(watched));
                }
            }
            None => self.cache.watchers.queue(Arc::clone(watched)),
        }
        if let Some(oldest) = self.cache.watchers.excess(&registration) {
            end(&oldest, EndReason::TooManyConnections);
        }
        if self.cache.watchers.is_stopping() {
            end(watched, EndReason::ServerStopping);
        }
        SessionWatch { store: self.clone(), registration, ip }
    }

    /// The number of watched sessions.
    pub fn watched_count(&self) -> u64 {
        self.cache.watchers.count()
    }

    /// Ends all watched sessions, because this server stops. With `is_final`, later ones end at once.
    pub fn end_watched(&self, is_final: bool) {
        for watched in self.cache.watchers.all(is_final) {
            end(&watched, EndReason::ServerStopping);
        }
    }

    /// Checks watched sessions until `stop`.
    pub(super) async fn check_watched(self, stop: CancellationToken) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.cache.watchers.has_work() => {}
                _ = tick.tick() => {
                    for watched in self.cache.watchers.tick(self.cache_state() == CacheState::Live) {
                        end(&watched, EndReason::Unverified);
                    }
                }
            }
            let queued = self.cache.watchers.take_queued();
            let soon = MonotonicInstant::now() + FLUSH_INTERVAL;
            if queued.iter().any(|watched| soon >= watched.expires_at()) {
                // Activity that is not written yet extends the session.
                self.last_seen().flush_and_log().await;
            }
            let checks = queued.into_iter().map(Ok);
            // After an error, the others would wait for the same deadline. The next tick queues all again.
            let round = stream::iter(checks)
                .try_for_each_concurrent(CONCURRENT_CHECKS, |watched| self.check(watched));
            if let Err(error) = round.await {
                db::log_failure("sessions of open connections could not be checked", &error);
            }
        }
    }

    async fn check(&self, watched: Arc<WatchedSession>) -> anyhow::Result<()> {
        let Some(check) = watched.state.begin() else { return Ok(()) };
        let found_at = MonotonicInstant::now();
        let (row, _) = self.lookup.find(watched.digest.clone()).await?;
        let Some(row) = row else {
            end(&watched, self.end_reason(&watched).await);
            return Ok(());
        };
        if watched.activity.get().is_none() {
            let (idle, since_seen) = (row.idle_seconds, row.seconds_since_seen);
            watched.activity.set(SessionActivity::found(idle, since_seen)).ok();
        }
        watched.record_found(found_at, row.expiry(found_at));
        if watched.state.confirm(check) {
            watched.changed.notify_waiters();
        }
        Ok(())
    }

    async fn end_reason(&self, watched: &WatchedSession) -> EndReason {
        let cause = revoke::find_cause(self.pool(), &watched.digest).await;
        match cause.ok().flatten() {
            Some(Cause::SignedOut) => EndReason::SignedOut,
            None | Some(Cause::Expired) => {
                let soon = MonotonicInstant::now() + Duration::from_secs(1);
                if soon >= watched.absolute_at() {
                    EndReason::AbsoluteTimeout
                } else if soon >= watched.expires_at() {
                    EndReason::IdleTimeout
                } else {
                    EndReason::Revoked
                }
            }
            Some(_) => EndReason::Revoked,
        }
    }
}

fn end(watched: &WatchedSession, reason: EndReason) {
    if watched.state.end(reason as u8) {
        watched.changed.notify_waiters();
    }
}
