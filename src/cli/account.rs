//! Finds the account that an argument names.

use super::out;
use super::values::AccountName;
use crate::db::Database;
use crate::user::{User, users};

/// Finds an account by email or id. Prints a message if there is none.
pub(super) async fn find(
    database: &Database,
    account: &AccountName,
) -> anyhow::Result<Option<User>> {
    let user = match account {
        AccountName::Id(id) => users::find(&database.pool, *id).await?,
        AccountName::Email(email) => users::find_by_email(&database.pool, email).await?,
    };
    if user.is_none() {
        out::problem(&format!("No such account: {account}"));
    }
    Ok(user)
}
