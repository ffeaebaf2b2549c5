//! The state of one watched session, in one atomic. Its model test replaces the atomic with loom's.
//!
//! ```text
//!               mark (an invalidation)
//!    live ───────────────────────────────► checking
//!      ▲                                     │
//!      └── confirm (the database found it) ──┤
//!                                            └── end ──► ended, for good
//! ```
//!
//! Each mark counts up. A check remembers the count from before its SELECT, and confirms only if no mark came in
//! between: a session that was read before a revocation is not confirmed after it.

use super::sync::{AtomicU64, Ordering};

/// The lower bits are the phase: 0 is live, 1 is checking, and higher ones are reasons of an end. The others are
/// the number of marks.
const PHASE_BITS: u32 = 8;
const PHASE: u64 = (1 << PHASE_BITS) - 1;
const LIVE: u64 = 0;
const CHECKING: u64 = 1;

/// Whether a watched session may be used.
#[derive(Debug)]
pub struct WatchState(AtomicU64);

/// What a watched session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It was found, and nothing was announced since.
    Live,
    /// Something changed, and the database is asked.
    Checking,
    /// It has ended, for this reason.
    Ended(u8),
}

/// The state before a SELECT.
#[derive(Clone, Copy, Debug)]
pub struct Check(u64);

impl WatchState {
    /// A session that has to be checked first.
    pub fn new() -> Self {
        Self(AtomicU64::new(CHECKING))
    }

    /// What the session is at the moment.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) & PHASE {
            LIVE => Phase::Live,
            CHECKING => Phase::Checking,
            ended => Phase::Ended((ended - CHECKING - 1) as u8),
        }
    }

    /// The session may have changed. When this returns, it is not live until it is checked again. `false`: it has
    /// ended already.
    pub fn mark(&self) -> bool {
        let marked = self.update(|state| {
            (state & PHASE <= CHECKING)
                .then_some(((state >> PHASE_BITS) + 1) << PHASE_BITS | CHECKING)
        });
        marked.is_some()
    }

    /// Call it before the SELECT, or before the look-up in the cache. `None`: it has ended already.
    pub fn begin(&self) -> Option<Check> {
        let state = self.0.load(Ordering::Acquire);
        (state & PHASE <= CHECKING).then_some(Check(state))
    }

    /// The SELECT found the session. `false`: it was marked in the meantime and has to be checked again, or it
    /// has ended.
    pub fn confirm(&self, Check(before): Check) -> bool {
        let live = before & !PHASE | LIVE;
        self.0.compare_exchange(before, live, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The session has ended. `false`: it had ended already.
    pub fn end(&self, reason: u8) -> bool {
        let ended = CHECKING + 1 + u64::from(reason);
        let before =
            self.update(|state| (state & PHASE <= CHECKING).then_some(state & !PHASE | ended));
        before.is_some()
    }

    /// The state before the change. `None`: nothing was changed.
    fn update(&self, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut state = self.0.load(Ordering::Acquire);
        loop {
            let new = change(state)?;
            match self.0.compare_exchange(state, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(before) => return Some(before),
                Err(current) => state = current,
            }
        }
    }
}
