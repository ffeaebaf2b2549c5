//! What a user may do.

use serde::{Deserialize, Serialize};

/// A role, as `users.role` stores it. A value that this enum does not know fails the query that reads it, so a new role
/// needs two releases: one that knows it, and then the migration that allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    /// May use and change their own account.
    User,
    /// Reserved for administration pages; no page requires it yet.
    Admin,
}

impl Role {
    /// The name in the database, in import and export files, and in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Admin => "admin",
        }
    }
}
