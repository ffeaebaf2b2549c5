//! Time that only goes forward, and goes on while the machine sleeps: leases and deadlines in memory. The
//! database's clock decides about rows, this one only about how long memory may be believed.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of this machine's own forward clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonotonicInstant(pub u64);

/// On Linux the clock that counts suspended time as well: a machine that slept must not wake up believing
/// what it knew.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

impl MonotonicInstant {
    /// Now.
    pub fn now() -> Self {
        let time = clock_gettime(CLOCK);
        Self(time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000)
    }

    /// How long ago it was; zero when it lies ahead.
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
