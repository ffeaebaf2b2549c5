//! The monotonic clock for leases and for deadlines of cache entries. It advances while the machine is
//! suspended. Expiry of rows is decided by the database's clock; this clock only limits how long the cache is
//! used.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of this machine's monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonotonicInstant(pub u64);

/// On Linux, the clock that also counts suspended time: after a suspension, expired leases must not appear
/// valid.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

impl MonotonicInstant {
    /// The current time.
    pub fn now() -> Self {
        let time = clock_gettime(CLOCK);
        Self(time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000)
    }

    /// The time since this instant; zero if it is in the future.
    pub fn elapsed(self) -> Duration {
        Duration::from_millis(Self::now().0.saturating_sub(self.0))
    }
}

impl std::ops::Add<Duration> for MonotonicInstant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_millis() as u64))
    }
}
