//! How long sessions last. Copied onto the row when a session begins; a later change of a setting
//! never touches an existing session.

use std::time::Duration;

/// The idle and absolute timeouts of the two kinds of session (OWASP ASVS 5.0 V7.3.1, V7.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// A session that goes with the browser may rest this long.
    pub idle: Duration,
    /// It ends after this long, however busy.
    pub absolute: Duration,
    /// A remembered session may rest this long.
    pub remembered_idle: Duration,
    /// It ends after this long, however busy.
    pub remembered_absolute: Duration,
}

impl Windows {
    /// Idle and absolute timeout in seconds for one kind of session.
    pub(super) fn seconds(&self, remembered: bool) -> (f64, f64) {
        let (idle, absolute) = if remembered {
            (self.remembered_idle, self.remembered_absolute)
        } else {
            (self.idle, self.absolute)
        };
        (idle.min(absolute).as_secs_f64(), absolute.as_secs_f64())
    }
}

impl Default for Windows {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        Self {
            idle: Duration::from_secs(2 * HOUR),
            absolute: Duration::from_secs(24 * HOUR),
            remembered_idle: Duration::from_secs(14 * 24 * HOUR),
            remembered_absolute: Duration::from_secs(90 * 24 * HOUR),
        }
    }
}
