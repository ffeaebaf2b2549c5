//! Parses and validates the values of a line, by the same rules as the pages.

use time::{Duration, OffsetDateTime};

use super::columns::{Column, Fields};
use crate::cli::values::utc;
use crate::mail::address::EmailAddress;
use crate::role::Role;
use crate::user::display_name::{DisplayName, DisplayNameProblem};
use crate::user::import::{ImportRow, Since};
use crate::user::password::hasher::{HashFormat, HashProblem, PasswordHash};

/// Options of the command line, and the current time.
pub(super) struct Rules {
    pub(super) allow_admins: bool,
    pub(super) hash_format: HashFormat,
    pub(super) now: OffsetDateTime,
}

/// `Err` is the reason that is shown to the operator.
pub(super) fn read(fields: &Fields, rules: &Rules) -> Result<ImportRow, &'static str> {
    let text = fields.get(Column::Email).ok_or("the email is missing")?;
    let email = EmailAddress::parse(text).map_err(|_| "the email is not valid")?;
    let name = match fields.get(Column::DisplayName) {
        Some(name) => name,
        None => email.as_typed().rsplit_once('@').map_or("", |(local, _)| local),
    };
    let display_name = DisplayName::parse(name).map_err(|problem| match problem {
        DisplayNameProblem::Empty => "the name is empty",
        DisplayNameProblem::TooLong => "the name is longer than 64 characters",
        DisplayNameProblem::Undisplayable => {
            "the name contains a character that cannot be displayed"
        }
    })?;
    let role = match fields.get(Column::Role) {
        None | Some("user") => Role::User,
        Some("admin") if rules.allow_admins => Role::Admin,
        Some("admin") => return Err("the role is admin; use --allow-admins to accept it"),
        Some(_) => return Err("the role is neither user nor admin"),
    };
    let past = |column| time(fields, column, Some(rules.now));
    Ok(ImportRow {
        role,
        password_hash: hash(fields, rules)?,
        password_changed_at: past(Column::PasswordChangedAt)?,
        verified: since(fields, Column::EmailVerified, rules)?,
        created_at: past(Column::CreatedAt)?,
        disabled: since(fields, Column::Disabled, rules)?,
        deletion_due_at: time(fields, Column::DeletionDueAt, None)?,
        email,
        display_name,
    })
}

fn hash(fields: &Fields, rules: &Rules) -> Result<Option<PasswordHash>, &'static str> {
    let Some(text) = fields.get(Column::PasswordHash) else { return Ok(None) };
    // Django's marker for an unusable password.
    if text.starts_with('!') {
        return Ok(None);
    }
    let format = match fields.get(Column::HashFormat) {
        None => rules.hash_format,
        Some("named") => HashFormat::Named,
        Some("better-auth") => HashFormat::BetterAuth,
        Some("node-scrypt") => HashFormat::NodeScrypt,
        Some(_) => return Err("the hash format is unknown"),
    };
    PasswordHash::adopt(text, format).map(Some).map_err(HashProblem::as_str)
}

/// `true`, `false`, or the time since when it applies.
fn since(fields: &Fields, column: Column, rules: &Rules) -> Result<Since, &'static str> {
    match fields.get(column).map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "f" | "no" | "0") => Ok(Since::Never),
        Some("true" | "t" | "yes" | "1") => Ok(Since::Now),
        Some(_) => Ok(time(fields, column, Some(rules.now))?.map_or(Since::Never, Since::At)),
    }
}

/// A time in RFC 3339 or as PostgreSQL and MySQL print it. Without a zone it is UTC.
fn time(
    fields: &Fields,
    column: Column,
    latest: Option<OffsetDateTime>,
) -> Result<Option<OffsetDateTime>, &'static str> {
    const INVALID: &str = "a time is not in the format 2026-11-23T21:27:00Z";
    let Some(text) = fields.get(column) else { return Ok(None) };
    let then = utc(text).ok_or(INVALID)?;
    if then < OffsetDateTime::UNIX_EPOCH {
        return Err("a time is before 1970");
    }
    match latest {
        // The clock of the other system may be ahead.
        Some(latest) if then > latest + Duration::DAY => Err("a time is in the future"),
        _ => Ok(Some(then)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn times_of_many_systems_are_read() {
        let read = |text: &str| {
            let mut fields = Fields::default();
            fields.set(Column::CreatedAt, text.to_owned());
            time(&fields, Column::CreatedAt, Some(datetime!(2026-11-24 00:00 UTC)))
        };
        let then = datetime!(2026-11-23 21:27:00 UTC);
        for text in [
            "2026-11-23T21:27:00Z",
            "2026-11-23 21:27:00",
            "2026-11-23 21:27:00+00",
            "2026-11-23 23:27:00.000000+02:00",
            "2026-11-23 21:27",
            "2026-11-23T21:27Z",
            "2026-11-23t21:27:00z",
            "2026-11-23 23:27+02",
        ] {
            assert_eq!(read(text), Ok(Some(then)), "{text}");
        }
        assert_eq!(read("2026-11-23"), Ok(Some(datetime!(2026-11-23 00:00 UTC))));
        for text in [
            "yesterday",
            "2027-01-01",
            "1969-12-31",
            "2026-11-23Tnoon",
            "2026-11-23 21",
            "2026-11-23 2127Z",
            "é",
            "T",
            "1764000000",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
