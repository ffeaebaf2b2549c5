//! Files of people: what `frontdesk user import` reads and `frontdesk user export` writes, as CSV or as one JSON object
//! a line. What is wrong with a line is told by its number and a reason: no address, name or hash is ever echoed.

mod csv;
mod export;
mod import;
mod jsonl;
mod lines;
mod newcomer;

pub(super) use export::run as export;
pub(super) use import::run as import;

/// Where a value stands, in the order of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Email,
    DisplayName,
    Role,
    EmailVerified,
    CreatedAt,
    Disabled,
    DeletionDueAt,
    PasswordChangedAt,
    PasswordHash,
    HashFormat,
}

const COLUMNS: [(Column, &str); 10] = [
    (Column::Email, "email"),
    (Column::DisplayName, "display_name"),
    (Column::Role, "role"),
    (Column::EmailVerified, "email_verified"),
    (Column::CreatedAt, "created_at"),
    (Column::Disabled, "disabled"),
    (Column::DeletionDueAt, "deletion_due_at"),
    (Column::PasswordChangedAt, "password_changed_at"),
    (Column::PasswordHash, "password_hash"),
    (Column::HashFormat, "hash_format"),
];

/// The values of one person, as text; what is missing or empty is `None`.
#[derive(Default)]
struct Fields([Option<String>; COLUMNS.len()]);

impl Fields {
    fn get(&self, column: Column) -> Option<&str> {
        self.0[column as usize].as_deref()
    }

    fn set(&mut self, column: Column, value: String) {
        self.0[column as usize] = Some(value).filter(|value| !value.is_empty());
    }
}

impl Column {
    fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        COLUMNS
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(column, _)| *column)
    }
}

/// One person of a file, or why the line is none: with the number of the line.
struct Record {
    line: u64,
    fields: Result<Fields, String>,
}
