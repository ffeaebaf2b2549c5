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

/// How other systems name columns that mean the same as a known one, in lower case.
struct Similar {
    column: Column,
    /// Found anywhere in a name, after its separators are removed.
    parts: &'static [&'static str],
    /// Found only as a whole word of a name, because longer words contain them by chance.
    words: &'static [&'static str],
}

/// A false alarm costs the operator one `--ignore`. A missing entry costs users their password, or lets
/// disabled users sign in. So the entries for passwords and states are broad.
const SIMILAR: [Similar; 7] = [
    Similar { column: Column::Email, parts: &["emailaddress", "useremail"], words: &[] },
    Similar {
        column: Column::PasswordHash,
        parts: &[
            "pass",
            "pwd",
            "pswd",
            "crypt",
            "hash",
            "digest",
            "argon2",
            "pbkdf2",
            "credential",
            "secretdata",
            "kennwort",
            "contrase",
            "senha",
            "wachtwoord",
        ],
        words: &["pw", "psw", "salt", "secret", "md5", "sha1", "sha256", "sha512"],
    },
    Similar {
        column: Column::Disabled,
        parts: &[
            "activ",
            "aktiv",
            "actif",
            "status",
            "enabl",
            "disabl",
            "banned",
            "block",
            "bloqu",
            "lock",
            "gesperrt",
            "suspend",
            "frozen",
            "freez",
            "approv",
            "archiv",
            "expir",
            "revok",
            "terminat",
            "closed",
            "loginallowed",
            "signinallowed",
            "allowlogin",
            "canlogin",
            "cansignin",
            "logindenied",
        ],
        words: &["ban", "bans", "isban", "state", "userstate", "accountstate"],
    },
    Similar {
        column: Column::DeletionDueAt,
        parts: &["deleted", "deletion", "removed", "trashed"],
        words: &[],
    },
    Similar {
        column: Column::Role,
        parts: &[
            "admin",
            "staff",
            "superuser",
            "moderator",
            "roles",
            "userrole",
            "usertype",
            "usergroup",
            "userlevel",
            "accesslevel",
            "permission",
            "privileg",
        ],
        words: &["role"],
    },
    Similar {
        column: Column::EmailVerified,
        parts: &["verified", "confirmed", "verification", "confirmation"],
        words: &[],
    },
    Similar {
        column: Column::CreatedAt,
        parts: &["created", "joined", "registered", "signup"],
        words: &[],
    },
];
/// How similar an unknown name is to a known one if it is probably a spelling mistake (`strsim`, 0 to 1).
const MISSPELLED: f64 = 0.8;

impl Column {
    /// The column that an unknown `name` probably means: it must not be dropped silently, because users would
    /// lose their password, or disabled users could sign in. The longest entry that matches decides.
    pub(super) fn similar(name: &str) -> Option<&'static str> {
        let words = words(name);
        let name = words.concat();
        let length = |similar: &Similar| {
            let parts = similar.parts.iter().filter(|part| name.contains(**part));
            let whole = similar.words.iter().filter(|word| words.iter().any(|one| one == *word));
            parts.chain(whole).map(|text| text.len()).max()
        };
        let alike = SIMILAR.iter().filter_map(|similar| Some((length(similar)?, similar.column)));
        let column = alike.max_by_key(|(length, _)| *length).map(|(_, column)| column);
        let known = |column: Column| COLUMNS.iter().find(|(known, _)| *known == column);
        column.and_then(known).map(|(_, name)| *name).or_else(|| {
            COLUMNS.iter().map(|(_, known)| *known).find(|known| {
                strsim::normalized_damerau_levenshtein(&name, &known.replace('_', "")) >= MISSPELLED
            })
        })
    }
}

/// The words of `accountStatus`, `account_status` or `Account status`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lowercase = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || letter.is_uppercase() && was_lowercase {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
        was_lowercase = letter.is_lowercase();
    }
    words
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
            ("crypted_pass", "password_hash"),
            ("enc_pass", "password_hash"),
            ("PW", "password_hash"),
            ("encrypted_pw", "password_hash"),
            ("userPw", "password_hash"),
            ("bcrypt", "password_hash"),
            ("secret", "password_hash"),
            ("salt", "password_hash"),
            ("mot_de_passe", "password_hash"),
            ("Kennwort", "password_hash"),
            ("contraseña", "password_hash"),
            ("activated", "disabled"),
            ("activation_state", "disabled"),
            ("accountState", "disabled"),
            ("account_status", "disabled"),
            ("enable", "disabled"),
            ("lock", "disabled"),
            ("block", "disabled"),
            ("is_ban", "disabled"),
            ("isban", "disabled"),
            ("deactivation_date", "disabled"),
            ("approved", "disabled"),
            ("frozen", "disabled"),
            ("archived", "disabled"),
            ("login_allowed", "disabled"),
            ("user_group", "role"),
            ("user_role", "role"),
            ("mail", "email"),
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
            "username",
            "locale",
            "banner_url",
            "salutation",
            "estate",
            "company",
            "timezone",
            "updated_at",
            "",
        ] {
            assert_eq!(Column::similar(name), None, "{name}");
        }
    }
}
