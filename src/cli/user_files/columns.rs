//! The columns of a user file, and its rows.

/// The columns, in the order of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
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

pub(super) const COLUMNS: [(Column, &str); 10] = [
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

/// The values of one user, as text. A missing or empty value is `None`.
#[derive(Default)]
pub(super) struct Fields([Option<String>; COLUMNS.len()]);

impl Fields {
    pub(super) fn get(&self, column: Column) -> Option<&str> {
        self.0[column as usize].as_deref()
    }

    pub(super) fn set(&mut self, column: Column, value: String) {
        self.0[column as usize] = Some(value).filter(|value| !value.is_empty());
    }
}

impl Column {
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        COLUMNS
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(column, _)| *column)
    }
}

/// One record of a file, or why its line cannot be read.
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) fields: Result<Fields, String>,
}
