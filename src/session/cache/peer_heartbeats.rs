//! When this server last received a heartbeat of each other server, on its current notification connection.
//! `barrier.rs` explains what follows from it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::clock::MonotonicInstant;
use super::leases::{LEASE, MARGIN};

/// A server that was not heard for this long is forgotten: its row in `session_caches` has expired by then.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// The heartbeats of other servers.
#[derive(Debug, Default)]
pub(in crate::session) struct PeerHeartbeats(Mutex<Received>);

#[derive(Debug, Default)]
struct Received {
    /// Everything that was committed before this number was drawn has been received.
    processed: i64,
    /// The time of the last heartbeat, by server.
    last: HashMap<Uuid, MonotonicInstant>,
}

impl PeerHeartbeats {
    /// A new connection: heartbeats that were sent before it listened are unknown.
    pub(in crate::session) fn clear(&self) {
        *self.lock() = Received::default();
    }

    /// A heartbeat of `server` was received at `now`.
    pub(in crate::session) fn record(&self, server: Uuid, now: MonotonicInstant) {
        self.lock().last.insert(server, now);
    }

    /// Everything that was committed before `number` was drawn has been received at `now`.
    pub(in crate::session) fn record_processed(&self, number: i64, now: MonotonicInstant) {
        let mut received = self.lock();
        if number < received.processed {
            // The sequence went back, for example after a restore, so earlier numbers prove nothing.
            *received = Received::default();
        }
        received.processed = number;
        received.last.retain(|_, last| now < *last + FORGET_AFTER);
    }

    /// Whether every lease that `server` had before `number` was drawn has expired at `now`. `false` if that
    /// is unknown.
    pub(in crate::session) fn has_expired(
        &self,
        server: Uuid,
        number: i64,
        now: MonotonicInstant,
    ) -> bool {
        let received = self.lock();
        let last = received.last.get(&server);
        received.processed >= number && last.is_some_and(|last| now >= *last + LEASE + MARGIN)
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_expired_one_lease_after_it_was_last_heard_and_never_if_it_was_not() {
        let (heartbeats, server) = (PeerHeartbeats::default(), Uuid::new_v4());
        let start = MonotonicInstant(1_000_000);
        let later = start + LEASE + MARGIN;
        heartbeats.record_processed(7, start);
        assert!(!heartbeats.has_expired(server, 7, later), "never heard");
        heartbeats.record(server, start);
        assert!(!heartbeats.has_expired(server, 7, start + LEASE));
        assert!(heartbeats.has_expired(server, 7, later));
        assert!(!heartbeats.has_expired(server, 8, later), "a heartbeat may not be received yet");
        heartbeats.record(server, later);
        assert!(!heartbeats.has_expired(server, 7, later), "heard again");
        heartbeats.record_processed(6, later);
        assert!(
            !heartbeats.has_expired(server, 6, later + LEASE + MARGIN),
            "the sequence went back"
        );
        heartbeats.record(server, later);
        assert!(heartbeats.has_expired(server, 6, later + LEASE + MARGIN));
        heartbeats.clear();
        assert!(!heartbeats.has_expired(server, 6, later + LEASE + MARGIN), "a new connection");
    }

    #[test]
    fn servers_that_were_not_heard_for_long_are_forgotten() {
        let heartbeats = PeerHeartbeats::default();
        let start = MonotonicInstant(1_000_000);
        (0..1000).for_each(|_| heartbeats.record(Uuid::new_v4(), start));
        heartbeats.record_processed(1, start + FORGET_AFTER);
        assert!(heartbeats.lock().last.is_empty());
    }
}
