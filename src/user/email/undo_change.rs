//! Undoing a change of email, by the link that was mailed to the former one. It takes the account back from anyone who
//! changed the email: in one transaction it ends every session, the password, the links that were mailed elsewhere, the
//! undo links of later changes, and a deletion that was asked for since. The page then asks for a new password.

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::token::Purpose;
use crate::audit::{EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::{Digest, Secret};
use crate::db;
use crate::id::UserId;
use crate::mail::{Message, outbox};
use crate::session::notice;
use crate::user::session_rules::{self, AccountEvent};
use crate::user::{deletion, email, password};

/// The state of an undo link.
#[derive(Debug)]
pub enum UndoLink {
    /// The change can be undone.
    Open {
        /// The address that the account gets back.
        email: String,
    },
    /// The change was undone with it, and the new password can still be chosen ([`reset_after`]).
    Used,
}

/// Finds the undo link of `token`; `None` if it is unknown, expired, or its new password was already chosen. Changes
/// nothing.
pub async fn find(pool: &PgPool, token: &Secret) -> sqlx::Result<Option<UndoLink>> {
    let found = email::token::find(pool, token).await?;
    if let Some(open) = found.filter(|found| found.purpose == Purpose::UndoEmailChange) {
        return Ok(Some(UndoLink::Open { email: open.email }));
    }
    let found = email::token::find(pool, &reset_after(token)).await?;
    let is_reset = found.is_some_and(|found| found.purpose == Purpose::ResetPassword);
    Ok(is_reset.then_some(UndoLink::Used))
}

/// The link that sets the new password after the change of `undo` was undone: once, within half an hour. It follows from
/// the undo link, so that a second click on the button leads to the same page as the first.
pub fn reset_after(undo: &Secret) -> Secret {
    undo.derive("reset_password after undo_email_change")
}

/// What came of [`undo`].
#[derive(Debug)]
pub enum UndoOutcome {
    /// The account has its former address again, and no password.
    Done(UserId),
    /// Another account has the address by now. Nothing was done, and the link is as good as before.
    Taken,
    /// The link is used or expired, or the account is disabled.
    Gone,
}

/// Gives an account the address back that it had before a change, by the link that was mailed there. Every session ends, no
/// password signs in until a new one is chosen ([`reset_after`]), a deletion that was asked for since is canceled, and both
/// addresses are told.
pub async fn undo(
    pool: &PgPool,
    sealer: Sealer,
    token: &Secret,
    origin: Origin,
) -> sqlx::Result<UndoOutcome> {
    let (token, reset) = (token.digest(), reset_after(token).digest());
    let undone = db::transaction(pool, move |connection| {
        Box::pin(async move { undo_in(connection, &sealer, &token, &reset, &origin).await })
    })
    .await;
    undone.or_else(|error| {
        if email::change::is_taken(&error) { Ok(UndoOutcome::Taken) } else { Err(error) }
    })
}

async fn undo_in(
    connection: &mut PgConnection,
    sealer: &Sealer,
    token: &Digest,
    reset: &Digest,
    origin: &Origin,
) -> sqlx::Result<UndoOutcome> {
    let Some(owner) = email::token::lock_owner_of(connection, token).await? else {
        return Ok(UndoOutcome::Gone);
    };
    let user = owner.id;
    let Some(old) = find_row(connection, user, token).await? else {
        return Ok(UndoOutcome::Gone);
    };
    if !email::change::set_address(connection, user, &old.email, &old.email_canonical).await? {
        return Ok(UndoOutcome::Taken);
    }
    password::change::invalidate(connection, user, origin).await?;
    let applied =
        session_rules::apply(connection, AccountEvent::EmailChangeUndone, user, None, origin)
            .await?;
    end_links_since(connection, user, old.created_at).await?;
    let about = (old.email.as_str(), old.email_canonical.as_str());
    email::token::insert(connection, user, Purpose::ResetPassword, about, reset, None).await?;
    let details = json!({ "ended_sessions": applied.ended_sessions });
    email::change::record(connection, EventKind::EmailChangeUndone, user, details, origin).await?;
    let deletion_canceled =
        deletion::cancel_since(connection, user, old.created_at, origin).await?;
    let display_name = owner.display_name;
    let source = notice::source(origin, OffsetDateTime::now_utc());
    let restored =
        Message::EmailConfirmed { display_name, restored: true, deletion_canceled, source };
    outbox::enqueue(connection, sealer, Some(user), &old.email, &restored).await?;
    // The owner may have changed it back before, by another change.
    if owner.email_canonical != old.email_canonical {
        let removed = Message::AddressRemoved;
        outbox::enqueue(connection, sealer, Some(user), &owner.email, &removed).await?;
    }
    Ok(UndoOutcome::Done(user))
}

/// A link that gives a former address back.
struct Undo {
    email: String,
    email_canonical: String,
    created_at: OffsetDateTime,
}

/// The undo link of the account that the caller has locked. Changes nothing; [`end_links_since`] uses it up.
async fn find_row(
    connection: &mut PgConnection,
    owner: UserId,
    token: &Digest,
) -> sqlx::Result<Option<Undo>> {
    sqlx::query_as!(
        Undo,
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

/// Ends the links of `user` that undo the change of `moment` and later ones: undoing the first of several changes leaves
/// nothing to the later ones, and undoing a later one leaves the first its way back.
async fn end_links_since(
    connection: &mut PgConnection,
    user: UserId,
    moment: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM email_tokens
         WHERE user_id = $1
           AND purpose = 'undo_email_change'
           AND created_at >= $2
        "#,
        user as UserId,
        moment,
    )
    .execute(connection)
    .await?;
    Ok(())
}
