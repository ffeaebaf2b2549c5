//! Is it them? The one place where a password is compared, for every road in: unknown, wrong and
//! disabled take the same time and look the same.

use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::hasher::{Hasher, HasherError, Verdict};
use super::policy::Password;
use crate::audit::{self, Event, EventKind, Origin, RefusalReason};
use crate::id::UserId;
use crate::user::email::address::EmailAddress;
use crate::user::password;
use crate::user::users::{self, User};

/// What came of it.
#[derive(Debug)]
pub enum Authentication {
    /// It is them.
    Accepted(User),
    /// Wrong password, no such account, or the account is disabled: nobody is told which.
    Rejected,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// No place in the queue, or no memory.
    #[error(transparent)]
    Hasher(#[from] HasherError),
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Compares `password` with that of the account of `email`. `email` is `None` when what was typed is no
/// address: it takes as long.
pub async fn authenticate(
    pool: &PgPool,
    hasher: &Hasher,
    email: Option<&EmailAddress>,
    password: &Password,
    origin: &Origin,
) -> Result<Authentication, AuthenticateError> {
    let user = match email {
        Some(email) => users::find_by_email(pool, email).await?,
        None => None,
    };
    let stored = user.as_ref().and_then(|user| user.password_hash.as_deref());
    let verdict = hasher.verify(password, stored).await?;
    let (user, why) = match (user, verdict) {
        (Some(user), Verdict::Match { rehash }) if user.disabled_at.is_none() => {
            if let (Some(new), Some(old)) = (rehash, user.password_hash.as_deref())
                && let Err(error) = password::change::rehash(pool, user.id, old, &new).await
            {
                tracing::warn!(%error, "a password could not be rehashed; the next sign-in will try again");
            }
            return Ok(Authentication::Accepted(user));
        }
        (Some(user), Verdict::Match { .. }) => (Some(user.id), RefusalReason::Disabled),
        (Some(user), Verdict::NoMatch) => (Some(user.id), RefusalReason::WrongPassword),
        (None, _) => (None, RefusalReason::UnknownAccount),
    };
    let details = json!({ "why": why.as_str() });
    let event = Event { kind: EventKind::SignInRefused, user, session: None, origin, details };
    audit::record(pool, event).await?;
    Ok(Authentication::Rejected)
}

/// Whether `password` is that of `user`, asked of somebody who is signed in already. Answers the stored
/// hash it was compared with, for [`super::change::change`].
pub async fn confirm(
    pool: &PgPool,
    hasher: &Hasher,
    user: crate::id::UserId,
    password: &Password,
) -> Result<Option<String>, AuthenticateError> {
    let user = users::find(pool, user).await?;
    let stored = user.and_then(|user| user.password_hash);
    match hasher.verify(password, stored.as_deref()).await? {
        Verdict::Match { .. } => Ok(stored),
        Verdict::NoMatch => Ok(None),
    }
}

/// Whether the stored hash of `user` still is `verified`, which was compared with a password before the caller's
/// transaction locked the account.
pub async fn is_current(
    connection: &mut PgConnection,
    user: crate::id::UserId,
    verified: &str,
) -> sqlx::Result<bool> {
    let found = sqlx::query!(
        "SELECT FROM users WHERE id = $1 AND password_hash = $2",
        user as UserId,
        verified,
    )
    .execute(connection)
    .await?;
    Ok(found.rows_affected() == 1)
}
