//! Finds the account that an argument names.

use super::exit::ExitStatus;
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
        report_missing(account);
    }
    Ok(user)
}

/// Prints that there is no such account.
pub(super) fn report_missing(account: &AccountName) -> ExitStatus {
    out::problem(&format!("No such account: {account}"));
    ExitStatus::NothingFound
}
