//! The sessions that this server recently found to have ended. One lease later, no server accepts such a
//! session, and a request with its cookie need not wait for other servers. Without this, a client could send
//! the cookie of an ended session again and again, and each request would ask every server.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cache::clock::MonotonicInstant;
use super::cache::leases::{LEASE, MARGIN};
use crate::crypto::secret::Digest;

/// Maximum number of sessions. When it is reached, all are forgotten, which costs a question for each.
const CAPACITY: usize = 4096;

/// When this server first found that a session had ended.
#[derive(Debug, Default)]
pub(super) struct EndedSessionCache(Mutex<HashMap<Digest, MonotonicInstant>>);

impl EndedSessionCache {
    /// The database had no live session for `digest` at `now`, which is after the response.
    pub(super) fn record(&self, digest: &Digest, now: MonotonicInstant) {
        let mut ended = self.lock();
        if ended.len() >= CAPACITY {
            ended.clear();
        }
        ended.entry(digest.clone()).or_insert(now);
    }

    /// The session is live: it was extended or restored by hand.
    pub(super) fn forget(&self, digest: &Digest) {
        let mut ended = self.lock();
        if !ended.is_empty() {
            ended.remove(digest);
        }
    }

    /// Whether the session ended so long before `now` that no server accepts it.
    pub(super) fn is_final(&self, digest: &Digest, now: MonotonicInstant) -> bool {
        self.lock().get(digest).is_some_and(|found| now >= *found + LEASE + MARGIN)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, MonotonicInstant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::Secret;

    #[test]
    fn an_end_is_final_one_lease_after_it_was_first_found() {
        let (ended, digest) = (EndedSessionCache::default(), Secret::generate().digest());
        let start = MonotonicInstant(1_000_000);
        let later = start + LEASE + MARGIN;
        assert!(!ended.is_final(&digest, later));
        ended.record(&digest, start);
        ended.record(&digest, start + LEASE);
        assert!(!ended.is_final(&digest, start + LEASE) && ended.is_final(&digest, later));
        ended.forget(&digest);
        assert!(!ended.is_final(&digest, later));
        ended.record(&digest, start);
        (0..CAPACITY).for_each(|_| ended.record(&Secret::generate().digest(), start));
        assert!(ended.lock().len() <= CAPACITY && !ended.is_final(&digest, later));
    }
}
