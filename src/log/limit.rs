//! Limits warnings that clients can cause.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many lines are logged per [`WINDOW`].
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// Limits a warning that any client can cause with every request to ten lines a minute. Use one `static` per
/// warning.
#[derive(Debug)]
pub struct WarningLimit(Mutex<State>);

#[derive(Debug)]
struct State {
    window_started: Option<Instant>,
    logged: u32,
    suppressed: u64,
}

impl WarningLimit {
    /// A limit that has logged nothing yet.
    pub const fn new() -> Self {
        Self(Mutex::new(State { window_started: None, logged: 0, suppressed: 0 }))
    }

    /// Whether the warning is logged now: the number of those that were suppressed since the last one, to be
    /// logged with it. `None`: it is suppressed.
    pub fn check(&self) -> Option<u64> {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.window_started.is_none_or(|started| now.duration_since(started) >= WINDOW) {
            state.window_started = Some(now);
            state.logged = 0;
        }
        if state.logged == LINES {
            state.suppressed += 1;
            return None;
        }
        state.logged += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

impl Default for WarningLimit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_minute_are_logged_and_the_next_one_counts_the_others() {
        let (limit, start) = (WarningLimit::new(), Instant::now());
        for _ in 0..LINES {
            assert_eq!(limit.check_at(start), Some(0));
        }
        for _ in 0..500 {
            assert_eq!(limit.check_at(start + WINDOW / 2), None);
        }
        assert_eq!(limit.check_at(start + WINDOW), Some(500));
        assert_eq!(limit.check_at(start + WINDOW), Some(0));
    }
}
