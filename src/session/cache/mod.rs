//! The session cache: sessions are served from memory, without a query, as long as PostgreSQL's notifications
//! arrive.
//!
//! * `entries.rs`: the cache, and why an entry that it returns is correct
//! * `invalidation.rs`: the notification connection
//! * `notification_loop.rs`: heartbeats, invalidations and confirmations on that connection
//! * `leases.rs`: the row of this server in `session_caches`, and what it notifies
//! * `barrier.rs`: waits until a revocation is in effect on every server
//! * `rounds.rs`: one round of the barrier serves many callers
//! * `peer_heartbeats.rs`: when the other servers were last heard
//! * `lookup.rs`: loads sessions that are not cached
//! * `watch.rs`, `watch_state.rs`: the sessions of connections that outlive a request
//! * `clock.rs`: the monotonic clock of leases and deadlines

pub(super) mod barrier;
pub mod clock;
pub(super) mod entries;
pub mod invalidation;
pub(super) mod leases;
pub(super) mod lookup;
mod notification_loop;
pub(super) mod peer_heartbeats;
mod rounds;
mod sync;
pub(super) mod watch;
pub(super) mod watch_state;

use std::ops::Deref;
use std::sync::Arc;

use super::last_seen::SessionActivity;
use super::state::CachedSession;
use crate::crypto::secret::Digest;
use crate::id::UserId;
use clock::MonotonicInstant;
use entries::{Cache, Stripe};
use watch::Watchers;

/// One stripe for each value of two bytes, as the triggers name the stripes.
pub(super) const STRIPES: usize = 1 << 16;
pub(super) const SHARDS: usize = 64;

/// The cached and the watched sessions of this server. An invalidation concerns both.
pub(super) struct SessionCache {
    entries: Cache<Digest, LoadedSession>,
    pub(super) watchers: Arc<Watchers>,
}

impl SessionCache {
    /// A cache for about `size` entries. `None`: the cache is turned off.
    pub(super) fn new(size: Option<usize>) -> Self {
        let (stripes, shards) = if size.is_some() { (STRIPES, SHARDS) } else { (1, 1) };
        let entries = Cache::new(size.unwrap_or(0), stripes, shards);
        Self { entries, watchers: Arc::default() }
    }

    /// See [`Cache::invalidate_session`]. Watched sessions of this stripe are not live until they are checked.
    pub(super) fn invalidate_session(&self, stripe: Stripe) {
        self.entries.invalidate_session(stripe);
        self.watchers.mark_session(stripe);
    }

    /// See [`Cache::invalidate_user`].
    pub(super) fn invalidate_user(&self, stripe: Stripe) {
        self.entries.invalidate_user(stripe);
        self.watchers.mark_user(stripe);
    }

    /// See [`Cache::invalidate_all`].
    pub(super) fn invalidate_all(&self) {
        self.entries.invalidate_all();
        self.watchers.mark_all();
    }
}

/// Only an invalidation concerns watched sessions too.
impl Deref for SessionCache {
    type Target = Cache<Digest, LoadedSession>;

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

/// The value of a cache entry.
#[derive(Debug)]
pub(super) struct LoadedSession {
    pub(super) session: Arc<CachedSession>,
    pub(super) activity: Arc<SessionActivity>,
    /// When the session expires without another request, and when in any case.
    pub(super) expiry: [MonotonicInstant; 2],
}

/// The first two bytes of the digest, as in the notifications of the trigger on `sessions`.
pub(super) fn session_stripe(digest: &Digest) -> Stripe {
    let bytes = digest.as_bytes();
    Stripe::from_be_bytes([bytes[0], bytes[1]])
}

/// The last two bytes of the id, which are random in a UUID of version 7, as in the notifications of the
/// trigger on `users`.
pub(super) fn user_stripe(user: UserId) -> Stripe {
    let bytes = user.uuid().into_bytes();
    Stripe::from_be_bytes([bytes[14], bytes[15]])
}
