//! Undoes an email change with the link that was sent to the former email. This recovers the account after an
//! account takeover: one transaction revokes every session, invalidates the password, the links that were
//! sent to other emails and the undo links of later changes, and cancels a deletion that was requested since.
//! Then the user chooses a new password.

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::token::Purpose;
use crate::audit::{EventKind, Origin, RefusalReason};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::{Digest, Secret};
use crate::db;
use crate::events::{EmailChanged, Hooks};
use crate::id::UserId;
use crate::mail::{Message, outbox};
use crate::session::notice;
use crate::user::session_rules::{self, AccountEvent};
use crate::user::{deletion, email, password};

/// The state of an undo link.
#[derive(Debug)]
pub enum UndoLink {
    /// The change can be undone.
    Unused {
        /// The email that is restored.
        email: String,
    },
    /// The change was undone with it, and the new password can still be chosen ([`reset_secret`]).
    Used,
}

/// Finds the undo link of `token`; `None` if it is unknown, expired, or its new password was already chosen.
/// Changes nothing.
pub async fn find(pool: &PgPool, token: &Secret) -> sqlx::Result<Option<UndoLink>> {
    let found = email::token::find(pool, token).await?;
    if let Some(open) = found.filter(|found| found.purpose == Purpose::UndoEmailChange) {
        return Ok(Some(UndoLink::Unused { email: open.email }));
    }
    let found = email::token::find(pool, &reset_secret(token)).await?;
    let is_reset = found.is_some_and(|found| found.purpose == Purpose::ResetPassword);
    Ok(is_reset.then_some(UndoLink::Used))
}

/// The secret of the link that sets the new password after `undo` was used: once, within half an hour. It is
/// derived from the undo link, so that submitting the form again redirects to the same page.
pub fn reset_secret(undo: &Secret) -> Secret {
    undo.derive("reset_password after undo_email_change")
}

/// The outcome of [`undo`].
#[derive(Debug)]
pub enum UndoOutcome {
    /// The account has its former email again, and no password.
    Done(UserId),
    /// Another account has the email now. Nothing was changed, and the link is still valid.
    EmailTaken,
    /// The link was used or has expired, or the account is disabled.
    Invalid,
}

/// Restores the email that an account had before a change, with the link that was sent there. Every session
/// is revoked, no password is accepted until a new one is set ([`reset_secret`]), a deletion that was
/// requested since is canceled, and both emails are notified: the removed one only if it was verified.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn undo(
    pool: &PgPool,
    sealer: Sealer,
    hooks: &Hooks,
    token: &Secret,
    origin: Origin,
) -> sqlx::Result<UndoOutcome> {
    let hooks = hooks.clone();
    let (token, reset) = (token.digest(), reset_secret(token).digest());
    let undone = db::transaction(pool, move |connection| {
        Box::pin(async move { undo_in(connection, &sealer, &hooks, &token, &reset, &origin).await })
    })
    .await;
    undone.or_else(|error| {
        if email::change::is_taken(&error) { Ok(UndoOutcome::EmailTaken) } else { Err(error) }
    })
}

async fn undo_in(
    connection: &mut PgConnection,
    sealer: &Sealer,
    hooks: &Hooks,
    token: &Digest,
    reset: &Digest,
    origin: &Origin,
) -> sqlx::Result<UndoOutcome> {
    let Some(owner) = email::token::lock_owner_of(connection, token).await? else {
        return Ok(UndoOutcome::Invalid);
    };
    let user = owner.id;
    let Some(old) = find_row(connection, user, token).await? else {
        return Ok(UndoOutcome::Invalid);
    };
    let about = (old.email.as_str(), old.email_canonical.as_str());
    if !email::change::set_email(connection, user, about, true).await? {
        return Ok(UndoOutcome::EmailTaken);
    }
    password::change::invalidate(connection, user, RefusalReason::EmailChangeUndone, origin)
        .await?;
    let applied =
        session_rules::apply(connection, AccountEvent::EmailChangeUndone, user, None, origin)
            .await?;
    delete_undo_links_since(connection, user, old.created_at).await?;
    let about = (old.email.as_str(), old.email_canonical.as_str());
    email::token::insert(connection, user, Purpose::ResetPassword, about, reset, None).await?;
    let details = json!({ "ended_sessions": applied.ended_sessions });
    email::change::record(connection, EventKind::EmailChangeUndone, user, details, origin).await?;
    let deletion_canceled =
        deletion::cancel_since(connection, user, old.created_at, origin).await?;
    let display_name = owner.display_name;
    let source = notice::source_now(connection, origin).await?;
    let restored =
        Message::EmailConfirmed { display_name, restored: true, deletion_canceled, source };
    outbox::enqueue(connection, sealer, Some(user), &old.email, &restored).await?;
    // The owner may already have changed the email back.
    if owner.email_canonical != old.email_canonical {
        // An email that an operator set and that was not verified may belong to a stranger.
        if owner.email_verified_at.is_some() {
            let removed = Message::AddressRemoved;
            outbox::enqueue(connection, sealer, Some(user), &owner.email, &removed).await?;
        }
        outbox::assign_to_user(connection, user, &owner.email_canonical).await?;
    }
    if owner.email != old.email {
        let event = EmailChanged::new(user, owner.email, &old.email);
        hooks.email_changed(connection, event).await?;
    }
    Ok(UndoOutcome::Done(user))
}

/// An undo link.
struct UndoRow {
    email: String,
    email_canonical: String,
    created_at: OffsetDateTime,
}

/// Finds the undo link of the locked user. [`delete_undo_links_since`] deletes it.
async fn find_row(
    connection: &mut PgConnection,
    owner: UserId,
    token: &Digest,
) -> sqlx::Result<Option<UndoRow>> {
    sqlx::query_as!(
        UndoRow,
        r#"
        SELECT email, email_canonical, created_at
          FROM email_tokens
         WHERE token_digest = $1
           AND user_id = $2
           AND purpose = 'undo_email_change'
           AND expires_at > now()
        "#,
        token.as_bytes(),
        owner as UserId,
    )
    .fetch_optional(connection)
    .await
}

/// Deletes the links of `user` that undo the change of `since` or a later one. Undoing the first of several
/// changes invalidates the undo links of the later ones; undoing a later one keeps the link of the first.
async fn delete_undo_links_since(
    connection: &mut PgConnection,
    user: UserId,
    since: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM email_tokens
         WHERE user_id = $1
           AND purpose = 'undo_email_change'
           AND created_at >= $2
        "#,
        user as UserId,
        since,
    )
    .execute(connection)
    .await?;
    Ok(())
}
