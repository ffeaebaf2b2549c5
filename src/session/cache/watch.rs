//! The sessions that this server watches, for connections that outlive a request: which ones an invalidation
//! concerns, and which ones have to be checked. `session/live.rs` checks them.
//!
//! # Why a watched session is not used after it was revoked
//!
//! 1. An invalidation marks the watched sessions of its stripe before the server confirms it to the server that
//!    revoked (`barrier.rs`). A marked session is not live until a SELECT from after the mark found it.
//! 2. A session is registered before it is looked for in the cache or in the database. An invalidation after that
//!    marks it; one before that makes the cache entry unreadable (`entries.rs`), or is seen by the SELECT.
//! 3. While notifications do not arrive, a session is live only for [`TRUST`] after it was found last.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::clock::MonotonicInstant;
use super::entries::Stripe;
use super::watch_state::{Phase, WatchState};
use crate::crypto::secret::Digest;
use crate::session::last_seen::SessionActivity;

/// How long a session counts as live after it was found, while notifications do not arrive.
pub(in crate::session) const TRUST: Duration = Duration::from_secs(5);
/// While notifications do not arrive, a session is checked again after this time: sooner than [`TRUST`] ends.
const CHECK_AFTER: Duration = Duration::from_secs(3);
/// A session that could not be checked for this long is ended: half a minute, less the lease of the cache and the time
/// that one check takes.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24);

/// The most connections of one session to one server: they have no other deadline, and must not use up those of all
/// others. Browsers open six, or a hundred over HTTP/2.
const MAX_PER_SESSION: usize = 100;

/// Watched sessions by stripe and number, which [`key`] packs into 8 bytes: one takes less than 200 in all.
type ByStripe = BTreeMap<u64, Arc<WatchedSession>>;
/// The bits of the number in a key.
const NUMBER_BITS: u32 = 48;

/// The watched sessions of this server.
#[derive(Default)]
pub(in crate::session) struct Watchers {
    registered: Mutex<Registered>,
    to_check: Mutex<Vec<Arc<WatchedSession>>>,
    has_work: Notify,
    /// How many there are, so that an invalidation takes no lock if there are none.
    count: AtomicU64,
    is_stopping: AtomicBool,
}

#[derive(Default)]
struct Registered {
    last_number: u64,
    by_session: ByStripe,
    by_user: ByStripe,
}

/// A session that is watched for one connection.
#[derive(Debug)]
pub(in crate::session) struct WatchedSession {
    pub(in crate::session) digest: Digest,
    session: Stripe,
    user: Stripe,
    pub(in crate::session) state: WatchState,
    /// When it was last known to be live, and when it expires without activity and with it: milliseconds of
    /// [`MonotonicInstant`].
    trusted_at: AtomicU64,
    expires_at: AtomicU64,
    absolute_at: AtomicU64,
    is_queued: AtomicBool,
    pub(in crate::session) activity: OnceLock<Arc<SessionActivity>>,
    /// Wakes those who wait for a change of `state`.
    pub(in crate::session) changed: Notify,
}

/// A registration, which ends when it is dropped.
pub(in crate::session) struct Registration {
    pub(in crate::session) watched: Arc<WatchedSession>,
    number: u64,
    watchers: Arc<Watchers>,
}

impl Watchers {
    /// Watches the session of `digest`, which has to be checked first. The stripes are those of the session and of its
    /// user.
    pub(in crate::session) fn register(
        self: &Arc<Self>,
        digest: Digest,
        [session, user]: [Stripe; 2],
    ) -> Registration {
        let now = MonotonicInstant::now().0;
        let watched = Arc::new(WatchedSession {
            digest,
            session,
            user,
            state: WatchState::new(),
            trusted_at: AtomicU64::new(now),
            expires_at: AtomicU64::new(u64::MAX),
            absolute_at: AtomicU64::new(u64::MAX),
            is_queued: AtomicBool::new(false),
            activity: OnceLock::new(),
            changed: Notify::new(),
        });
        let mut registered = lock(&self.registered);
        registered.last_number += 1;
        let number = registered.last_number;
        registered.by_session.insert(key(session, number), Arc::clone(&watched));
        registered.by_user.insert(key(user, number), Arc::clone(&watched));
        self.count.fetch_add(1, Ordering::SeqCst);
        drop(registered);
        Registration { watched, number, watchers: Arc::clone(self) }
    }

    /// The oldest connection of the session of `registration`, if that session has more than [`MAX_PER_SESSION`].
    pub(in crate::session) fn excess(
        &self,
        registration: &Registration,
    ) -> Option<Arc<WatchedSession>> {
        let of_stripe = range(&lock(&self.registered).by_session, registration.watched.session);
        let is_live = |watched: &Arc<WatchedSession>| {
            watched.digest == registration.watched.digest
                && !matches!(watched.state.phase(), Phase::Ended(_))
        };
        let mut of_session = of_stripe.into_iter().filter(is_live);
        let oldest = of_session.next();
        oldest.filter(|_| of_session.count() >= MAX_PER_SESSION)
    }

    /// The number of watched sessions.
    pub(in crate::session) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// When this returns, no watched session of this stripe is live until it is checked again.
    pub(super) fn mark_session(&self, stripe: Stripe) {
        self.mark(|registered| range(&registered.by_session, stripe));
    }

    /// Like [`Self::mark_session`], for the sessions of users.
    pub(super) fn mark_user(&self, stripe: Stripe) {
        self.mark(|registered| range(&registered.by_user, stripe));
    }

    /// Like [`Self::mark_session`], for all sessions.
    pub(super) fn mark_all(&self) {
        self.mark(|registered| registered.by_session.values().cloned().collect());
    }

    fn mark(&self, select: impl Fn(&Registered) -> Vec<Arc<WatchedSession>>) {
        if self.count() == 0 {
            return;
        }
        let selected = select(&lock(&self.registered));
        for watched in selected {
            if watched.state.mark() {
                self.queue(watched);
            }
        }
    }

    /// Has the session checked soon.
    pub(in crate::session) fn queue(&self, watched: Arc<WatchedSession>) {
        if !watched.is_queued.swap(true, Ordering::SeqCst) {
            lock(&self.to_check).push(watched);
            self.has_work.notify_one();
        }
    }

    /// Returns when there are sessions to check.
    pub(in crate::session) async fn has_work(&self) {
        self.has_work.notified().await;
    }

    /// The sessions to check.
    pub(in crate::session) fn take_queued(&self) -> Vec<Arc<WatchedSession>> {
        let taken = std::mem::take(&mut *lock(&self.to_check));
        for watched in &taken {
            // Before the check begins: a mark during the check queues it again.
            watched.is_queued.store(false, Ordering::SeqCst);
        }
        taken
    }

    /// Queues what has to be checked because of the time, and returns what could not be checked for too long.
    /// `is_cache_live`: notifications arrive.
    pub(in crate::session) fn tick(&self, is_cache_live: bool) -> Vec<Arc<WatchedSession>> {
        if self.count() == 0 {
            return Vec::new();
        }
        let now = MonotonicInstant::now();
        let all: Vec<_> = lock(&self.registered).by_session.values().cloned().collect();
        let mut given_up = Vec::new();
        for watched in all {
            let phase = watched.state.phase();
            if matches!(phase, Phase::Ended(_)) {
                continue;
            }
            let is_live = phase == Phase::Live;
            if is_live && is_cache_live {
                watched.trusted_at.store(now.0, Ordering::Relaxed);
            }
            let trusted_at = watched.trusted_at();
            if now >= trusted_at + GIVE_UP_AFTER {
                given_up.push(watched);
                continue;
            }
            let has_expired = now.0 >= watched.expires_at.load(Ordering::Relaxed);
            if has_expired {
                watched.state.mark();
            }
            if !is_live || has_expired || now >= trusted_at + CHECK_AFTER {
                self.queue(watched);
            }
        }
        given_up
    }

    /// All watched sessions. With `is_final`, later ones end at once.
    pub(in crate::session) fn all(&self, is_final: bool) -> Vec<Arc<WatchedSession>> {
        if is_final {
            self.is_stopping.store(true, Ordering::SeqCst);
        }
        lock(&self.registered).by_session.values().cloned().collect()
    }

    /// Whether a session that is registered now ends at once.
    pub(in crate::session) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }
}

impl WatchedSession {
    /// The session was found by a look-up that began at `found_at`. The times of `expiry` are when it expires
    /// without activity, and when in any case.
    pub(in crate::session) fn record_found(
        &self,
        found_at: MonotonicInstant,
        [expires_at, absolute_at]: [MonotonicInstant; 2],
    ) {
        self.trusted_at.fetch_max(found_at.0, Ordering::Relaxed);
        self.expires_at.store(expires_at.0, Ordering::Relaxed);
        self.absolute_at.store(absolute_at.0, Ordering::Relaxed);
    }

    /// When the session was last known to be live.
    pub(in crate::session) fn trusted_at(&self) -> MonotonicInstant {
        MonotonicInstant(self.trusted_at.load(Ordering::Relaxed))
    }

    /// When the session expires without activity.
    pub(in crate::session) fn expires_at(&self) -> MonotonicInstant {
        MonotonicInstant(self.expires_at.load(Ordering::Relaxed))
    }

    /// When the session expires in any case.
    pub(in crate::session) fn absolute_at(&self) -> MonotonicInstant {
        MonotonicInstant(self.absolute_at.load(Ordering::Relaxed))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut registered = lock(&self.watchers.registered);
        registered.by_session.remove(&key(self.watched.session, self.number));
        registered.by_user.remove(&key(self.watched.user, self.number));
        self.watchers.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// 2⁴⁸ numbers last for ninety years of a hundred thousand connections per second.
fn key(stripe: Stripe, number: u64) -> u64 {
    u64::from(stripe) << NUMBER_BITS | number
}

fn range(sessions: &ByStripe, stripe: Stripe) -> Vec<Arc<WatchedSession>> {
    let keys = key(stripe, 0)..=key(stripe, (1 << NUMBER_BITS) - 1);
    sessions.range(keys).map(|(_, watched)| Arc::clone(watched)).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both are consistent after every statement that may panic, so a poisoned lock is used.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::Secret;

    #[test]
    fn an_invalidation_marks_the_sessions_of_its_stripe_and_no_others() {
        let watchers: Arc<Watchers> = Arc::default();
        let live = |session, user| {
            let registration = watchers.register(Secret::generate().digest(), [session, user]);
            let check = registration.watched.state.begin().unwrap();
            assert!(registration.watched.state.confirm(check));
            registration
        };
        let (first, last, other) = (live(1, 7), live(2, 7), live(3, 8));
        let phases = || [&first, &last, &other].map(|one| one.watched.state.phase());
        watchers.mark_user(7);
        assert_eq!(phases(), [Phase::Checking, Phase::Checking, Phase::Live]);
        watchers.mark_session(3);
        assert_eq!(phases(), [Phase::Checking; 3]);
        assert_eq!(watchers.take_queued().len(), 3);
        watchers.mark_all();
        assert_eq!(watchers.take_queued().len(), 3);
        drop(first);
        watchers.mark_user(7);
        assert_eq!((watchers.take_queued().len(), watchers.count()), (1, 2));
    }

    #[test]
    fn a_watched_session_takes_at_most_200_bytes() {
        // Reference counts, the header of the allocation, and its places in the two B-trees, two thirds full.
        let places = 2 * (11 * (8 + 8) + 16) * 3 / 2 / 11;
        let bytes = size_of::<WatchedSession>() + 16 + 8 + places;
        // `bench/run site` reads it.
        println!("a watched session: {bytes} bytes");
        assert!(bytes <= 200, "{bytes}");
    }
}
