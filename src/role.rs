//! Roles of users.

use serde::{Deserialize, Serialize};

/// The role of a user (`users.role`). Reading an unknown value is an error, so adding a role takes two
/// releases: first one that knows the role, then one with the migration that allows it.
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
