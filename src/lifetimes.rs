//! How long mailed links and codes, and other things with a deadline, are valid. Expiry, mails and pages all
//! use these constants, so that a text never promises another time than the one that counts.

use std::time::Duration;

use serde_json::{Value, json};

use crate::language::Text;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A link that sets a password.
pub const RESET_LINK: Duration = Duration::from_secs(30 * MINUTE);
/// A link that verifies an email of an account.
pub const VERIFICATION_LINK: Duration = Duration::from_secs(24 * HOUR);
/// A registration that is completed by a link or a code.
pub const REGISTRATION: Duration = Duration::from_secs(24 * HOUR);
/// A link that undoes a change of email.
pub const UNDO_LINK: Duration = Duration::from_secs(7 * DAY);
/// An invitation.
pub const INVITATION: Duration = Duration::from_secs(7 * DAY);
/// The page that a mailed link leads to: afterwards the link has to be opened again.
pub const LINK_PAGE: Duration = Duration::from_secs(30 * MINUTE);
/// A code that can be entered instead of opening the link (ASVS 5.0 V6.5.5).
pub const CODE: Duration = Duration::from_secs(10 * MINUTE);
/// The time between the request to delete an account and the deletion. Equal to [`UNDO_LINK`], so that the
/// owner can recover the account after an account takeover.
pub const DELETION_GRACE: Duration = Duration::from_secs(7 * DAY);

/// A span of whole days, for the calendar of PostgreSQL. In a constant, any other span is a compile error.
pub const fn days(span: Duration) -> i32 {
    assert!(span.as_secs().is_multiple_of(DAY));
    (span.as_secs() / DAY) as i32
}

/// "30 minutes", "24 hours", "7 days": the largest unit in which `span` is a whole number, with days from the
/// second day on.
pub fn words(span: Duration) -> Text {
    let seconds = span.as_secs();
    let (key, count) = match seconds {
        _ if seconds > DAY && seconds.is_multiple_of(DAY) => ("time-days", seconds / DAY),
        _ if seconds >= HOUR && seconds.is_multiple_of(HOUR) => ("time-hours", seconds / HOUR),
        _ => ("time-minutes", seconds.div_ceil(MINUTE)),
    };
    Text::key(key).with("n", count)
}

/// The variable `lifetimes` of every template, in the current language. Pages have it from when templates are loaded.
pub fn for_templates() -> Value {
    json!({
        "reset_link": words(RESET_LINK),
        "verification_link": words(VERIFICATION_LINK),
        "registration": words(REGISTRATION),
        "undo_link": words(UNDO_LINK),
        "invitation": words(INVITATION),
        "link_page": words(LINK_PAGE),
        "code": words(CODE),
        "deletion_grace": words(DELETION_GRACE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_said_in_the_largest_whole_unit() {
        for (seconds, said) in [
            (60, "1 minute"),
            (30 * MINUTE, "30 minutes"),
            (HOUR, "1 hour"),
            (90 * MINUTE, "90 minutes"),
            (DAY, "24 hours"),
            (36 * HOUR, "36 hours"),
            (7 * DAY, "7 days"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), said);
        }
    }
}
