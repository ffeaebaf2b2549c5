//! Values of arguments. A value that cannot be read ends the command with exit code 2, like every other wrong
//! use.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use ipnet::IpNet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::audit::EventKind;
use crate::config;
use crate::db::{self, Database};
use crate::id::UserId;
use crate::mail::address::EmailAddress;
use crate::user::display_name::DisplayName;

/// How a command names an account.
#[derive(Clone, Debug)]
pub(super) enum AccountName {
    Id(UserId),
    Email(EmailAddress),
}

impl fmt::Display for AccountName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccountName::Id(id) => id.fmt(out),
            AccountName::Email(email) => out.write_str(email.as_typed()),
        }
    }
}

/// A time as an argument.
#[derive(Clone, Copy, Debug)]
pub(super) enum PointInTime {
    /// The time at which the command starts, by the database's clock.
    Now,
    At(OffsetDateTime),
}

impl PointInTime {
    /// The time that is meant.
    pub(super) async fn resolve(self, database: &Database) -> anyhow::Result<OffsetDateTime> {
        Ok(match self {
            PointInTime::Now => db::now(&database.pool).await?,
            PointInTime::At(time) => time,
        })
    }
}

pub(super) fn account(text: &str) -> Result<AccountName, &'static str> {
    if let Ok(id) = text.trim().parse() {
        return Ok(AccountName::Id(id));
    }
    EmailAddress::parse_existing(text)
        .map(AccountName::Email)
        .map_err(|_| "neither an email like name@example.com nor an account ID")
}

/// An email that the site may know already.
pub(super) fn existing_email(text: &str) -> Result<EmailAddress, &'static str> {
    EmailAddress::parse_existing(text).map_err(|_| "not an email like name@example.com")
}

/// An email that is new to the site.
pub(super) fn email(text: &str) -> Result<EmailAddress, &'static str> {
    EmailAddress::parse(text).map_err(|_| "not an email like name@example.com")
}

pub(super) fn display_name(text: &str) -> Result<DisplayName, String> {
    DisplayName::parse(text).map_err(|problem| problem.to_string())
}

/// A value that its type parses.
pub(super) fn parsed<T: FromStr<Err = &'static str>>(text: &str) -> Result<T, &'static str> {
    text.parse()
}

pub(super) fn schema(text: &str) -> Result<String, &'static str> {
    if config::is_schema_name(text) { Ok(text.to_owned()) } else { Err(config::SCHEMA_NAMES) }
}

pub(super) fn search(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() { Err("nothing to search for") } else { Ok(text.to_owned()) }
}

/// The names of audit events.
pub(super) fn event_names() -> PossibleValuesParser {
    EventKind::ALL.iter().map(|kind| kind.as_str()).into()
}

/// An ID as the commands list it.
pub(super) fn id<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.trim().parse().map_err(|_| "not an ID such as 01a20ac9-362c-7088-badc-46d695f6783a")
}

/// A number of rows, from 1 to `MAX`.
pub(super) fn limit<const MAX: i64>(text: &str) -> Result<i64, String> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX).contains(limit));
    limit.ok_or_else(|| format!("not a whole number from 1 to {MAX}"))
}

pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    config::duration(text).ok_or("not a duration such as 30m, 2h or 7d")
}

pub(super) fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse::<IpNet>())
        .map(|network| config::canonical_network(network).trunc())
        .map_err(|_| "neither an IP address nor a network such as 203.0.113.0/24 or 2001:db8::/32")
}

pub(super) fn time(text: &str) -> Result<PointInTime, &'static str> {
    if text == "now" {
        return Ok(PointInTime::Now);
    }
    utc(text).map(PointInTime::At).ok_or("neither a time such as 2026-11-23T21:27:00Z nor now")
}

/// A time as many programs write it. Without a time zone it is UTC; without a time of day, midnight; without
/// seconds, the start of the minute.
pub(super) fn utc(text: &str) -> Option<OffsetDateTime> {
    let text = text.trim();
    if text.len() > 40 || !text.is_ascii() {
        return None;
    }
    let (day, clock) = text.split_once([' ', 'T', 't']).unwrap_or((text, "00:00"));
    let (clock, zone) = clock.split_at(clock.find(['+', '-', 'Z', 'z']).unwrap_or(clock.len()));
    let seconds = if clock.len() == "07:00".len() { ":00" } else { "" };
    let zone = match zone.len() {
        0 => "Z".to_owned(),
        // PostgreSQL writes +00.
        3 => format!("{zone}:00"),
        _ => zone.to_ascii_uppercase(),
    };
    OffsetDateTime::parse(&format!("{day}T{clock}{seconds}{zone}"), &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_or_a_range() {
        for (text, read) in [
            ("203.0.113.7", "203.0.113.7/32"),
            ("203.0.113.7/24", "203.0.113.0/24"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::ffff:203.0.113.7", "203.0.113.7/32"),
            ("::ffff:203.0.113.7/128", "203.0.113.7/32"),
            ("::ffff:127.0.0.0/104", "127.0.0.0/8"),
            ("::FFFF:7f00:1/104", "127.0.0.0/8"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), read);
        }
        for text in ["", "203.0.113", "203.0.113.0/33", "example.com", "203.0.113.0/"] {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
