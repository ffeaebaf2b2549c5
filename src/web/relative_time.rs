//! Formats times relative to now ("2 hours ago") and exactly, always in UTC.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::language::Text;

/// The keys of the names of days and months: messages without variables, which are looked up without being formatted.
const WEEKDAYS: [&str; 7] = [
    "time-weekday-1",
    "time-weekday-2",
    "time-weekday-3",
    "time-weekday-4",
    "time-weekday-5",
    "time-weekday-6",
    "time-weekday-7",
];
const MONTHS: [&str; 12] = [
    "time-month-1",
    "time-month-2",
    "time-month-3",
    "time-month-4",
    "time-month-5",
    "time-month-6",
    "time-month-7",
    "time-month-8",
    "time-month-9",
    "time-month-10",
    "time-month-11",
    "time-month-12",
];

/// One time in three formats, for `<time datetime title>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Time {
    /// `2026-11-23T21:27:00Z`.
    pub iso: String,
    /// `Monday, November 23, 2026 at 9:27 PM UTC`.
    pub exact: String,
    /// `2 hours ago`.
    pub relative: String,
}

impl Time {
    /// Formats `then`, relative to `now`.
    pub fn new(then: OffsetDateTime, now: OffsetDateTime) -> Self {
        Self { iso: iso(then), exact: exact(then), relative: relative(then, now) }
    }
}

/// RFC 3339, to the second, in UTC.
pub fn iso(then: OffsetDateTime) -> String {
    let whole = then.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).unwrap_or(then);
    whole.format(&Rfc3339).unwrap_or_default()
}

/// Weekday, date and time in UTC.
pub fn exact(then: OffsetDateTime) -> String {
    let then = then.to_offset(time::UtcOffset::UTC);
    let weekday = WEEKDAYS[usize::from(then.weekday().number_days_from_monday())];
    let time = Text::key("time-clock")
        .with("hour", u32::from(then.hour()))
        .with("minute", format!("{:02}", then.minute()));
    Text::key("time-exact")
        .with("weekday", Text::key(weekday))
        .with("date", date(then))
        .with("time", time)
        .to_string()
}

/// The date in UTC.
fn date(then: OffsetDateTime) -> Text {
    let date = then.to_offset(time::UtcOffset::UTC).date();
    Text::key("time-date")
        .with("month", Text::key(MONTHS[usize::from(u8::from(date.month())) - 1]))
        .with("day", u32::from(date.day()))
        .with("year", date.year())
}

/// "just now", "5 minutes ago", "yesterday", "on November 2, 2026"; "in 3 hours" for a future time. Past days
/// are calendar days in UTC, as in [`exact`]: the server does not know the time zone of the reader.
pub fn relative(then: OffsetDateTime, now: OffsetDateTime) -> String {
    let seconds = (now - then).whole_seconds();
    let distance = seconds.unsigned_abs();
    let day = |time: OffsetDateTime| time.to_offset(time::UtcOffset::UTC).date();
    let days_ago = (day(now) - day(then)).whole_days();
    let minutes = ("time-minutes-ago", "time-in-minutes");
    let hours = ("time-hours-ago", "time-in-hours");
    let days = ("time-days-ago", "time-in-days");
    let (count, (past, future)) = match distance {
        0..45 => return Text::key("time-just-now").to_string(),
        45..5_400 if distance < 90 => (1, minutes),
        45..2_700 => ((distance + 30) / 60, minutes),
        2_700..5_400 => (1, hours),
        5_400..79_200 => ((distance + 1_800) / 3_600, hours),
        79_200..86_400 if days_ago == 0 => (distance / 3_600, hours),
        79_200..2_592_000 if days_ago == 1 => return Text::key("time-yesterday").to_string(),
        79_200..2_592_000 if seconds > 0 => (days_ago.unsigned_abs(), days),
        79_200..2_592_000 => ((distance + 43_200) / 86_400, days),
        _ => return Text::key("time-on-date").with("date", date(then)).to_string(),
    };
    Text::key(if seconds > 0 { past } else { future }).with("n", count).to_string()
}

/// How long to wait: "30 seconds", "5 minutes", "an hour". Rounded up, so that a retry after that time is not
/// refused.
pub fn wait(wait: std::time::Duration) -> Text {
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    match seconds {
        ..=90 => Text::key("wait-seconds").with("n", seconds),
        91..=3_300 => Text::key("wait-minutes").with("n", seconds.div_ceil(60)),
        _ => Text::key("wait-hours").with("n", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    #[test]
    fn a_wait_is_rounded_up() {
        for (milliseconds, words) in [
            (0, "a second"),
            (29_001, "30 seconds"),
            (90_000, "90 seconds"),
            (90_001, "2 minutes"),
            (239_900, "4 minutes"),
            (3_300_000, "55 minutes"),
            (3_300_001, "an hour"),
            (3_600_000, "an hour"),
            (3_600_001, "2 hours"),
        ] {
            assert_eq!(wait(std::time::Duration::from_millis(milliseconds)), words);
        }
    }

    /// Those of the crate `time`, which are English.
    #[test]
    fn every_hour_day_and_month_has_its_words() {
        let form = time::macros::format_description!(
            "[weekday], [month repr:long] [day padding:none], [year] at [hour repr:12 padding:none]:[minute] [period] UTC"
        );
        let began = datetime!(2028-01-01 00:07:00 UTC);
        for then in (0..366).map(|day| began + Duration::hours(day * 25)) {
            assert_eq!(exact(then), then.format(&form).unwrap());
        }
    }

    #[test]
    fn times_are_formatted_relative_to_now() {
        let now = datetime!(2026-11-23 21:27:00 UTC);
        for (seconds, words) in [
            (0, "just now"),
            (44, "just now"),
            (-20, "just now"),
            (60, "1 minute ago"),
            (300, "5 minutes ago"),
            (3_600, "1 hour ago"),
            (7_200, "2 hours ago"),
            (21 * 3_600, "21 hours ago"),
            (86_400, "yesterday"),
            // At 9:27 PM, yesterday began 45.45 hours ago.
            (45 * 3_600, "yesterday"),
            (46 * 3_600, "2 days ago"),
            (3 * 86_400, "3 days ago"),
            (21 * 86_400, "21 days ago"),
            (40 * 86_400, "on October 14, 2026"),
            (-7_200, "in 2 hours"),
            (-14 * 86_400, "in 14 days"),
        ] {
            assert_eq!(relative(now - Duration::seconds(seconds), now), words);
        }
        let (morning, evening) =
            (datetime!(2026-11-23 00:30:00 UTC), datetime!(2026-11-23 23:30:00 UTC));
        for (then, now, words) in [
            (datetime!(2026-11-22 23:50:00 UTC), morning, "40 minutes ago"),
            (datetime!(2026-11-22 01:00:00 UTC), morning, "yesterday"),
            (datetime!(2026-11-21 23:59:00 UTC), morning, "2 days ago"),
            (datetime!(2026-11-21 12:00:00 UTC), morning, "2 days ago"),
            (datetime!(2026-11-22 00:01:00 UTC), evening, "yesterday"),
            (datetime!(2026-11-21 23:59:00 UTC), evening, "2 days ago"),
            (morning, evening, "23 hours ago"),
            (datetime!(2026-11-22 12:00:00 -14), datetime!(2026-11-23 14:00:00 -14), "yesterday"),
        ] {
            assert_eq!(relative(then, now), words, "{then} at {now}");
        }
        for (then, words) in [
            (now, "Monday, November 23, 2026 at 9:27 PM UTC"),
            (datetime!(2026-11-22 00:05:00 UTC), "Sunday, November 22, 2026 at 12:05 AM UTC"),
            (datetime!(2026-02-03 11:59:59 UTC), "Tuesday, February 3, 2026 at 11:59 AM UTC"),
            (datetime!(2026-12-31 12:00:00 UTC), "Thursday, December 31, 2026 at 12:00 PM UTC"),
            (datetime!(2026-01-01 00:30:00 +2), "Wednesday, December 31, 2025 at 10:30 PM UTC"),
        ] {
            assert_eq!(exact(then), words);
        }
        assert_eq!(iso(now + Duration::milliseconds(7)), "2026-11-23T21:27:00Z");
    }
}
