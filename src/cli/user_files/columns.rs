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

/// Words in the names of columns of other systems, lower case without separators, and the column that is
/// probably meant. `true`: the word may also be part of a longer name.
const SIMILAR: [(&str, bool, Column); 41] = {
    use Column::{CreatedAt, DeletionDueAt, Disabled, Email, EmailVerified};
    use Column::{PasswordHash, Role};
    [
        ("mail", false, Email),
        ("emailaddress", true, Email),
        ("useremail", true, Email),
        ("password", true, PasswordHash),
        ("passwd", true, PasswordHash),
        ("passwort", true, PasswordHash),
        ("passhash", true, PasswordHash),
        ("userpass", true, PasswordHash),
        ("pass", false, PasswordHash),
        ("pwd", true, PasswordHash),
        ("hash", true, PasswordHash),
        ("digest", true, PasswordHash),
        ("secretdata", true, PasswordHash),
        ("credential", true, PasswordHash),
        ("active", true, Disabled),
        ("enabled", true, Disabled),
        ("disabled", true, Disabled),
        ("banned", true, Disabled),
        ("blocked", true, Disabled),
        ("locked", true, Disabled),
        ("suspended", true, Disabled),
        ("deactivated", true, Disabled),
        ("status", false, Disabled),
        ("userstatus", false, Disabled),
        ("state", false, Disabled),
        ("deleted", true, DeletionDueAt),
        ("deletion", true, DeletionDueAt),
        ("admin", true, Role),
        ("staff", true, Role),
        ("superuser", true, Role),
        ("roles", true, Role),
        ("userrole", true, Role),
        ("usertype", false, Role),
        ("verified", true, EmailVerified),
        ("confirmed", true, EmailVerified),
        ("verification", true, EmailVerified),
        ("created", true, CreatedAt),
        ("datejoined", true, CreatedAt),
        ("joined", true, CreatedAt),
        ("registered", true, CreatedAt),
        ("signup", true, CreatedAt),
    ]
};
/// How similar an unknown name is to a known one if it is probably a spelling mistake (`strsim`, 0 to 1).
const MISSPELLED: f64 = 0.8;

impl Column {
    /// The column that an unknown `name` probably means: it must not be dropped silently, because users would
    /// lose their password, or disabled users could sign in. Longer words are tried first.
    pub(super) fn similar(name: &str) -> Option<&'static str> {
        let name: String = name
            .chars()
            .filter(|letter| letter.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect();
        let alike = SIMILAR
            .iter()
            .filter(|(word, is_part, _)| name == *word || *is_part && name.contains(word));
        let column = alike.max_by_key(|(word, ..)| word.len()).map(|(_, _, column)| *column);
        let known = |column: Column| COLUMNS.iter().find(|(known, _)| *known == column);
        column.and_then(known).map(|(_, name)| *name).or_else(|| {
            COLUMNS.iter().map(|(_, known)| *known).find(|known| {
                strsim::normalized_damerau_levenshtein(&name, &known.replace('_', "")) >= MISSPELLED
            })
        })
    }
}

/// Why a file with a column that is [`Column::similar`] to a known one is refused.
pub(super) fn refusal(position: &str, known: &str) -> String {
    let opposite = if known == "disabled" { " (true for users who may not sign in)" } else { "" };
    format!(
        "{position} is unknown and looks like {known}. Rename it to {known}{opposite}, remove it, or name it with --ignore"
    )
}

/// One record of a file, or why its line cannot be read.
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) fields: Result<Fields, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_other_systems_are_recognized() {
        for (name, known) in [
            ("password", "password_hash"),
            ("Encrypted Password", "password_hash"),
            ("user_pass", "password_hash"),
            ("passwordHash2", "password_hash"),
            ("password_digest", "password_hash"),
            ("pasword_hash", "password_hash"),
            ("is_active", "disabled"),
            ("enabled", "disabled"),
            ("disabled_at", "disabled"),
            ("is_staff", "role"),
            ("confirmed_at", "email_verified"),
            ("emailVerified", "email_verified"),
            ("email_verified_at", "email_verified"),
            ("createdAt", "created_at"),
            ("date_joined", "created_at"),
            ("user_email", "email"),
            ("dispaly_name", "display_name"),
        ] {
            assert_eq!(Column::similar(name), Some(known), "{name}");
        }
        for name in [
            "id",
            "phone",
            "country",
            "last_login",
            "newsletter",
            "notes",
            "birthday",
            "nickname",
            "",
        ] {
            assert_eq!(Column::similar(name), None, "{name}");
        }
    }
}
