//! A new password, and all that it ends, in one transaction: the other sessions are gone and the own
//! one has a new secret when the password is new, or nothing of it.

use serde_json::json;
use sqlx::PgPool;

use super::hasher::PasswordHash;
use super::rules::{self, Occasion};
use crate::audit::{self, Event, Origin};
use crate::db;
use crate::id::{SessionId, UserId};
use crate::secret::Secret;

/// What came of [`set_password`].
pub enum PasswordSet {
    /// The password is new; `ended` other sessions are over. `secret` is the own session's new one:
    /// `None` when no session was to be kept, or it ended meanwhile.
    Done {
        /// How many other sessions ended.
        ended: usize,
        /// For the cookie of the session that is kept.
        secret: Option<Secret>,
    },
    /// The password was changed by somebody else since it was verified; nothing was done.
    Overtaken,
}

/// Sets the password of `user`. With `verified` the stored hash must still be that one. `keep` is the
/// session that asks; every other one ends.
pub async fn set_password(
    pool: &PgPool,
    user: UserId,
    verified: Option<String>,
    hash: PasswordHash,
    keep: Option<SessionId>,
    origin: Origin,
) -> sqlx::Result<PasswordSet> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            // The row lock makes sign-ins that are under way wait; they then see the new password and
            // begin no session, or began theirs before and have it ended below.
            let changed = sqlx::query!(
                r#"
                UPDATE users
                   SET password_hash = $2,
                       password_changed_at = now()
                 WHERE id = $1
                   AND ($3::text IS NULL OR password_hash = $3)
                "#,
                user.uuid(),
                hash.as_str(),
                verified,
            )
            .execute(&mut *connection)
            .await?;
            if changed.rows_affected() == 0 {
                return Ok(PasswordSet::Overtaken);
            }
            let occasion = match keep {
                Some(_) => Occasion::PasswordChanged,
                None => Occasion::PasswordReset,
            };
            let ended = rules::apply(connection, occasion, user, keep, &origin).await?;
            audit::record(
                connection,
                Event {
                    name: "password_changed",
                    user: Some(user),
                    session: keep,
                    origin: &origin,
                    details: json!({ "ended_sessions": ended.sessions }),
                },
            )
            .await?;
            Ok(PasswordSet::Done { ended: ended.sessions, secret: ended.secret })
        })
    })
    .await
}

/// Writes the same password with newer parameters, unless it was changed meanwhile. No session ends.
pub(super) async fn rehash(
    pool: &PgPool,
    user: UserId,
    old: &str,
    new: &PasswordHash,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2",
        user.uuid(),
        old,
        new.as_str(),
    )
    .execute(pool)
    .await?;
    Ok(())
}
