//! Verification of a password. Every page that checks the password of an account uses this file: unknown
//! account, wrong password and disabled account take the same time and return the same result, to prevent
//! user enumeration.

use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::hasher::{Hasher, HasherError, Verdict};
use super::policy::Password;
use crate::audit::{self, Event, EventKind, Origin, RefusalReason};
use crate::db;
use crate::id::UserId;
use crate::mail::address::EmailAddress;
use crate::user::password;
use crate::user::rate_limit::Permit;
use crate::user::users::{self, User};

/// The outcome of [`authenticate`].
#[derive(Debug)]
pub enum Authentication {
    /// The password is correct.
    Accepted(User),
    /// Wrong password, no such account, or the account is disabled. The client must not learn which.
    Rejected,
}

/// Why a password could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// The queue is full, or hashing failed.
    #[error(transparent)]
    Hasher(#[from] HasherError),
    /// A query failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Compares `password` with that of the account of `email`, for the attempt of `permit`, which is refunded if
/// an error prevents the comparison. `email` is `None` if the input is not a valid email, which takes the
/// same time.
pub async fn authenticate(
    pool: &PgPool,
    hasher: &Hasher,
    permit: &Permit,
    email: Option<&EmailAddress>,
    password: &Password,
    origin: &Origin,
) -> Result<Authentication, AuthenticateError> {
    let compared = permit.refund_on_error(async {
        let user = match email {
            Some(email) => users::find_by_email(pool, email).await?,
            None => None,
        };
        let stored = user.as_ref().and_then(|user| user.password_hash.as_deref());
        let verdict = hasher.verify(password, stored).await?;
        Ok::<_, AuthenticateError>((user, verdict))
    });
    let (user, verdict) = compared.await?;
    let (user, why) = match (user, verdict) {
        (Some(user), Verdict::Match { rehash }) if user.disabled_at.is_none() => {
            if let (Some(new), Some(old)) = (rehash, user.password_hash.as_deref())
                && let Err(error) = password::change::rehash(pool, user.id, old, &new).await
            {
                let what = "a password could not be rehashed; the next sign-in will try again";
                db::log_failure(what, &error.into());
            }
            return Ok(Authentication::Accepted(user));
        }
        (Some(user), Verdict::Match { .. }) => (Some(user.id), RefusalReason::Disabled),
        (Some(user), Verdict::NoMatch) => (Some(user.id), RefusalReason::WrongPassword),
        (None, _) => (None, RefusalReason::UnknownAccount),
    };
    let details = json!({ "why": why.as_str() });
    let event = Event { kind: EventKind::SignInRefused, user, session: None, origin, details };
    audit::record_in_own_transaction(pool, event).await?;
    Ok(Authentication::Rejected)
}

/// Verifies the password of `user`, who is signed in, for the attempt of `permit`, which is refunded if an
/// error prevents the comparison. Returns the stored hash that matched, for [`super::change::change`].
pub async fn confirm(
    pool: &PgPool,
    hasher: &Hasher,
    permit: &Permit,
    user: UserId,
    password: &Password,
) -> Result<Option<String>, AuthenticateError> {
    let compared = permit.refund_on_error(async {
        let user = users::find(pool, user).await?;
        let stored = user.and_then(|user| user.password_hash);
        let verdict = hasher.verify(password, stored.as_deref()).await?;
        Ok::<_, AuthenticateError>((stored, verdict))
    });
    let (stored, verdict) = compared.await?;
    Ok(stored.filter(|_| matches!(verdict, Verdict::Match { .. })))
}

/// Whether the stored hash of `user` is still `verified`, which was compared with a password before the
/// caller's transaction locked the account.
pub async fn is_current(
    connection: &mut PgConnection,
    user: UserId,
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
