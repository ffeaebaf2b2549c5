//! The timeouts of a new session. They are stored in the row when the session is created; changing a setting
//! does not affect existing sessions.

pub use crate::config::Timeouts;

/// Idle and absolute timeout in seconds for one kind of session.
pub(super) fn seconds(timeouts: &Timeouts, remembered: bool) -> (f64, f64) {
    let (idle, absolute) = if remembered {
        (timeouts.remembered_idle, timeouts.remembered_absolute)
    } else {
        (timeouts.idle, timeouts.absolute)
    };
    (idle.min(absolute).as_secs_f64(), absolute.as_secs_f64())
}
