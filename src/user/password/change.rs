//! A new password, and all that it ends, in one transaction: the other sessions and the links that were mailed are gone,
//! the own session has a new secret and the owner has mail when the password is new, or nothing of it.

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::hasher::PasswordHash;
use crate::audit::{self, Event, EventKind, Origin, RefusalReason};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::Secret;
use crate::db;
use crate::id::{SessionId, UserId};
use crate::mail::{Message, outbox};
use crate::session::{Lock, Requester, SessionEnded, notice};
use crate::user::email::token::Purpose;
use crate::user::session_rules::{self, AccountEvent, AppliedRule};
use crate::user::{email, rate_limit};

/// What came of [`change`].
pub enum PasswordSet {
    /// The password is new; `ended` other sessions are over. `secret` is the own session's new one.
    Done {
        /// How many other sessions ended.
        ended: usize,
        /// For the cookie of the session that is kept.
        secret: Option<Secret>,
        /// When it was set (`password_changed_at`).
        at: OffsetDateTime,
    },
    /// The stored hash is no longer `verified`; nothing was changed.
    Overtaken,
}

/// Changes the password of the user who requests it, whose stored hash must still be `verified`. Every other session ends,
/// and so does every link that was mailed but those that undo a change of address. The owner is told by mail.
pub async fn change(
    pool: &PgPool,
    sealer: Sealer,
    requester: &Requester,
    verified: String,
    hash: PasswordHash,
) -> sqlx::Result<Result<PasswordSet, SessionEnded>> {
    let Requester { user, session, origin, .. } = requester.clone();
    let change = requester.transaction(pool, Lock::UserAndSession, move |connection| {
        Box::pin(async move {
            let (verified, occasion) = (Some(verified), AccountEvent::PasswordChanged);
            let new = New { user, verified, hash, occasion, by_link: false };
            let Some((applied, at)) =
                apply(connection, &sealer, new, Some(session), &origin).await?
            else {
                return Ok(PasswordSet::Overtaken);
            };
            Ok(PasswordSet::Done { ended: applied.ended_sessions, secret: applied.secret, at })
        })
    });
    change.await
}

/// Sets the password of `user`: for operators. Every session ends, and the links as in [`change`]. The owner is told by
/// mail. `false` if there is no such account.
pub async fn set_by_operator(
    pool: &PgPool,
    sealer: Sealer,
    user: UserId,
    hash: PasswordHash,
    origin: Origin,
) -> sqlx::Result<bool> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let occasion = AccountEvent::PasswordReset;
            let new = New { user, verified: None, hash, occasion, by_link: false };
            Ok(apply(connection, &sealer, new, None, &origin).await?.is_some())
        })
    })
    .await
}

/// Sets the password by a link for somebody who forgot it, and uses the link up. Every session ends, nobody is signed in.
/// The link was read at the address of the account, so that is proven too, and what strangers tried at the old password keeps
/// nobody from the new one: its counters are forgotten. Answers whose it is and when it was set (`password_changed_at`).
/// `None`: the link is used, expired, or overtaken by a newer one or a change.
pub async fn reset(
    pool: &PgPool,
    sealer: Sealer,
    token: &Secret,
    hash: PasswordHash,
    origin: Origin,
) -> sqlx::Result<Option<(UserId, OffsetDateTime)>> {
    let token = token.digest();
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let Some(owner) = email::token::lock_owner_of(connection, &token).await? else {
                return Ok(None);
            };
            let (user, purpose) = (owner.id, Purpose::ResetPassword);
            let used = email::token::consume(connection, &owner, purpose, token.as_bytes()).await?;
            if used.is_none() {
                return Ok(None);
            }
            let occasion = AccountEvent::PasswordReset;
            let new = New { user, verified: None, hash, occasion, by_link: true };
            let set = apply(connection, &sealer, new, None, &origin).await?;
            rate_limit::delete_counters(connection, user, &owner.email_canonical).await?;
            Ok(set.map(|(_, at)| (user, at)))
        })
    })
    .await
}

struct New {
    user: UserId,
    verified: Option<String>,
    hash: PasswordHash,
    occasion: AccountEvent,
    by_link: bool,
}

/// The new password, all that it ends, and when. `None`: the stored hash is no longer `verified`.
async fn apply(
    connection: &mut PgConnection,
    sealer: &Sealer,
    new: New,
    keep: Option<SessionId>,
    origin: &Origin,
) -> sqlx::Result<Option<(AppliedRule, OffsetDateTime)>> {
    let New { user, verified, hash, occasion, by_link } = new;
    // The row lock makes sign-ins that are under way wait; they then see the new password and begin no session, or
    // began theirs before and have it ended below.
    let owner = sqlx::query!(
        r#"
        UPDATE users
           SET password_hash = $2,
               password_changed_at = now(),
               email_verified_at = CASE WHEN $4 THEN COALESCE(email_verified_at, now()) ELSE email_verified_at END
         WHERE id = $1
           AND ($3::text IS NULL OR password_hash = $3)
        RETURNING email, display_name, now() AS "at!"
        "#,
        user as UserId,
        hash.as_str(),
        verified,
        by_link,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(owner) = owner else { return Ok(None) };
    let applied = session_rules::apply(connection, occasion, user, keep, origin).await?;
    audit::record(
        &mut *connection,
        Event {
            kind: if by_link { EventKind::PasswordReset } else { EventKind::PasswordChanged },
            user: Some(user),
            session: keep,
            origin,
            details: json!({ "ended_sessions": applied.ended_sessions }),
        },
    )
    .await?;
    let message = Message::PasswordChanged {
        display_name: owner.display_name,
        by_reset: by_link,
        by_operator: keep.is_none() && !by_link,
        source: notice::source(origin, owner.at),
    };
    outbox::enqueue(connection, sealer, Some(user), &owner.email, &message).await?;
    Ok(Some((applied, owner.at)))
}

/// Invalidates the password: none signs in until a new one is set. The date moves too, which refuses sign-ins under way and
/// makes known devices unknown. The caller ends the sessions.
pub(in crate::user) async fn invalidate(
    connection: &mut PgConnection,
    user: UserId,
    origin: &Origin,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users SET password_hash = NULL, password_changed_at = now() WHERE id = $1",
        user as UserId,
    )
    .execute(&mut *connection)
    .await?;
    audit::record(
        connection,
        Event {
            kind: EventKind::PasswordInvalidated,
            user: Some(user),
            session: None,
            origin,
            details: json!({ "why": RefusalReason::EmailChangeUndone.as_str() }),
        },
    )
    .await
}

/// Writes the same password with newer parameters, unless it was changed meanwhile. No session ends.
pub(in crate::user) async fn rehash(
    pool: &PgPool,
    user: UserId,
    old: &str,
    new: &PasswordHash,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2",
        user as UserId,
        old,
        new.as_str(),
    )
    .execute(pool)
    .await?;
    Ok(())
}
