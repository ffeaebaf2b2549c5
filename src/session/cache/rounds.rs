//! Rounds of work that serve many callers, one round at a time. A round serves every caller that joined
//! before it began, and no other: what a caller did before it joined happened before the whole round.
//! `tests/session_cache_model.rs` runs this file under loom.

use std::sync::PoisonError;

use super::sync::Mutex;

/// Which rounds have begun and are wanted.
#[derive(Default)]
pub struct Rounds(Mutex<State>);

#[derive(Clone, Copy, Default)]
struct State {
    /// The number of the last round that has begun. The first is 1.
    begun: u64,
    /// The number of the last round that a caller waits for.
    wanted: u64,
    is_running: bool,
}

/// What a caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The first round that serves the caller; so does every later one.
    pub round: u64,
    /// No rounds are running: the caller starts them.
    pub starts: bool,
}

impl Rounds {
    /// Joins the next round that begins.
    pub fn join(&self) -> Joined {
        self.with(|state| {
            let starts = !state.is_running;
            state.is_running = true;
            state.wanted = state.begun + 1;
            Joined { round: state.wanted, starts }
        })
    }

    /// Begins the next round. `None`: no caller waits, and the next one that joins starts the rounds.
    pub fn begin(&self) -> Option<u64> {
        self.with(|state| {
            if state.wanted <= state.begun {
                state.is_running = false;
                return None;
            }
            state.begun += 1;
            Some(state.begun)
        })
    }

    /// The rounds were interrupted. The next caller that joins starts them.
    pub fn interrupt(&self) {
        self.with(|state| state.is_running = false);
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // Nothing panics while the lock is held.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
