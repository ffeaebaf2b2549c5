//! Changes and resets passwords. One transaction sets the password, applies the session rules, and enqueues a
//! notice to the owner.

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::hasher::PasswordHash;
use crate::audit::{self, Event, EventKind, Origin, RefusalReason};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::Secret;
use crate::db;
use crate::events::{After, Hooks};
use crate::id::{SessionId, UserId};
use crate::mail::{Message, outbox};
use crate::session::{Lock, Requester, SessionEnded, notice};
use crate::user::email::token::Purpose;
use crate::user::session_rules::{self, AccountEvent, AppliedRule};
use crate::user::{deletion, email, rate_limit};

/// The outcome of [`change`].
pub enum PasswordSet {
    /// The password was changed.
    Done {
        /// The number of other sessions that were revoked.
        ended: usize,
        /// The new secret of the current session, for its cookie.
        secret: Option<Secret>,
        /// When the password was set (`password_changed_at`).
        at: OffsetDateTime,
    },
    /// The stored hash is no longer `verified`. Nothing was changed.
    HashChanged,
}

/// Changes the password of the user who requests it, whose stored hash must still be `verified`.
#[tracing::instrument(level = "debug", skip_all, fields(user = %requester.user))]
pub async fn change(
    pool: &PgPool,
    sealer: Sealer,
    hooks: &Hooks,
    requester: &Requester,
    verified: String,
    hash: PasswordHash,
) -> sqlx::Result<Result<PasswordSet, SessionEnded>> {
    let Requester { user, session, origin, .. } = requester.clone();
    let hooks = hooks.clone();
    let change = requester.transaction(pool, Lock::UserAndSession, move |connection| {
        Box::pin(async move {
            let (verified, event) = (Some(verified), AccountEvent::PasswordChanged);
            let new = NewPassword { user, verified, hash, event, by_link: false };
            let Some((applied, at)) =
                apply(connection, &sealer, &hooks, new, Some(session), &origin).await?
            else {
                return Ok(PasswordSet::HashChanged);
            };
            Ok(PasswordSet::Done { ended: applied.ended_sessions, secret: applied.secret, at })
        })
    });
    change.await
}

/// Sets the password of `user`: for operators. `false` if there is no such account.
#[tracing::instrument(level = "debug", skip_all, fields(%user))]
pub async fn set_by_operator(
    pool: &PgPool,
    sealer: Sealer,
    hooks: &Hooks,
    user: UserId,
    hash: PasswordHash,
    origin: Origin,
) -> sqlx::Result<bool> {
    let hooks = hooks.clone();
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let event = AccountEvent::PasswordReset;
            let new = NewPassword { user, verified: None, hash, event, by_link: false };
            Ok(apply(connection, &sealer, &hooks, new, None, &origin).await?.is_some())
        })
    })
    .await
}

/// A password that was set with a mailed link.
pub struct PasswordReset {
    /// The account.
    pub user: UserId,
    /// When the password was set (`password_changed_at`).
    pub at: OffsetDateTime,
    /// A scheduled deletion of the account was canceled.
    pub is_kept: bool,
}

/// Sets the password with a mailed link, and consumes the link. Does not sign in. Also marks the account's
/// email as verified, because the link was sent there, and deletes the account's rate-limit counters, so that
/// failed attempts of others do not lock the user out. With `keep_account`, a scheduled deletion is canceled:
/// the user could also sign in with the new password and cancel it. `None` if the link was used, has expired,
/// or was invalidated by a newer one or by a change of the account.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn reset(
    pool: &PgPool,
    sealer: Sealer,
    hooks: &Hooks,
    token: &Secret,
    hash: PasswordHash,
    keep_account: bool,
    origin: Origin,
) -> sqlx::Result<Option<PasswordReset>> {
    let (token, hooks) = (token.digest(), hooks.clone());
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
            let event = AccountEvent::PasswordReset;
            let new = NewPassword { user, verified: None, hash, event, by_link: true };
            let set = apply(connection, &sealer, &hooks, new, None, &origin).await?;
            let Some((_, at)) = set else { return Ok(None) };
            let is_kept = keep_account
                && deletion::cancel_in(connection, &sealer, user, None, &origin).await?;
            Ok(Some(PasswordReset { user, at, is_kept }))
        })
    })
    .await
}

struct NewPassword {
    user: UserId,
    /// If set, the stored hash must equal this one.
    verified: Option<String>,
    hash: PasswordHash,
    event: AccountEvent,
    by_link: bool,
}

/// Sets the password and applies the rule of the event. A link also deletes the counters of the account. `None` if the stored hash is no longer `verified`.
async fn apply(
    connection: &mut PgConnection,
    sealer: &Sealer,
    hooks: &Hooks,
    new: NewPassword,
    keep: Option<SessionId>,
    origin: &Origin,
) -> sqlx::Result<Option<(AppliedRule, OffsetDateTime)>> {
    let NewPassword { user, verified, hash, event, by_link } = new;
    // Sign-ins in progress wait for this row lock and then see the new password, so their session is not
    // inserted. Sessions that were inserted before are revoked below.
    let owner = sqlx::query!(
        r#"
        UPDATE users
           SET password_hash = $2,
               password_changed_at = now(),
               email_verified_at = CASE WHEN $4 THEN COALESCE(email_verified_at, now()) ELSE email_verified_at END
         WHERE id = $1
           AND ($3::text IS NULL OR password_hash = $3)
        RETURNING email, email_canonical, display_name, now() AS "at!"
        "#,
        user as UserId,
        hash.as_str(),
        verified,
        by_link,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(owner) = owner else { return Ok(None) };
    let applied = session_rules::apply(connection, event, user, keep, origin).await?;
    if by_link {
        // In the lock order: after the sessions, and before the limits of the mail.
        rate_limit::delete_counters(connection, sealer, user, &owner.email_canonical).await?;
    }
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
    notice::for_hooks(connection, hooks, After::PasswordChanged, user, origin).await?;
    Ok(Some((applied, owner.at)))
}

/// Deletes the password, for the reason `why`: sign-in is refused until a new one is set. Also updates
/// `password_changed_at`, so that sign-ins in progress are refused and known devices are no longer valid. The
/// caller revokes the sessions.
pub(in crate::user) async fn invalidate(
    connection: &mut PgConnection,
    user: UserId,
    why: RefusalReason,
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
            details: json!({ "why": why.as_str() }),
        },
    )
    .await
}

/// Replaces the hash by one of the same password with the current parameters, unless the password was changed
/// in the meantime. Revokes no session.
pub(in crate::user) async fn rehash(
    pool: &PgPool,
    user: UserId,
    old: &str,
    new: &PasswordHash,
) -> sqlx::Result<()> {
    let (old, new) = (old.to_owned(), new.clone());
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            sqlx::query!(
                "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2",
                user as UserId,
                old,
                new.as_str(),
            )
            .execute(connection)
            .await?;
            Ok(())
        })
    })
    .await
}
