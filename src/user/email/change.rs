//! Changes an account's email. The new email is verified first; the former one is notified and can undo the
//! change for a week (`undo_change.rs`). One transaction changes the email, revokes sessions and links
//! (`session_rules.rs`), and inserts the mails and the audit event.

use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::token::{ConsumedLink, LockedUser, NewLink, Purpose};
use crate::audit::{self, Event, EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::db;
use crate::events::{EmailChanged, Hooks};
use crate::id::{SessionId, UserId};
use crate::mail::address::EmailAddress;
use crate::mail::{Message, Source, outbox};
use crate::session::{Lock, Requester, SessionEnded, notice};
use crate::user::email;
use crate::user::session_rules::{self, AccountEvent, AppliedRule};

/// The outcome of [`request`].
#[derive(Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// A mail is in the outbox.
    Sent,
    /// Enough mails were sent to the email recently, by this user or by others. Nothing was changed.
    OverLimit,
}

/// Sends a link and a code for the change to the email `new`, and invalidates older ones. If another account
/// has `new`, its owner is notified instead. The requester cannot distinguish the two cases, because the link
/// is inserted in both and the same limit applies (no user enumeration). If `new` has got too much such mail,
/// nothing is sent, and older links stay valid.
#[tracing::instrument(level = "debug", skip_all, fields(user = %requester.user))]
pub async fn request(
    pool: &PgPool,
    sealer: Sealer,
    requester: &Requester,
    new: EmailAddress,
) -> sqlx::Result<Result<RequestOutcome, SessionEnded>> {
    let Requester { user, origin, .. } = requester.clone();
    let request = requester.transaction(pool, Lock::UserAndSession, move |connection| {
        Box::pin(async move {
            let Some(owner) = email::token::lock_owner(connection, user).await? else {
                return Ok(RequestOutcome::Sent);
            };
            // Locked as the foreign key of the mail would: otherwise the account could be deleted before the mail
            // is inserted.
            let other = sqlx::query!(
                r#"
                SELECT id, email, display_name
                  FROM users
                 WHERE email_canonical = $1
                   AND id <> $2
                   FOR KEY SHARE
                "#,
                new.canonical(),
                user as UserId,
            )
            .fetch_optional(&mut *connection)
            .await?;
            let about = (new.as_typed(), new.canonical());
            let purpose = Purpose::ChangeEmail;
            let mail = |link: NewLink| match other {
                Some(other) => {
                    let (display_name, for_email_change) = (other.display_name, true);
                    let message = Message::AlreadyRegistered { display_name, for_email_change };
                    (UserId::from(other.id), other.email, message)
                }
                None => {
                    let (display_name, NewLink { token, code }) = (owner.display_name, link);
                    let message = Message::ChangeEmail { display_name, token, code };
                    (user, new.as_typed().to_owned(), message)
                }
            };
            let sent =
                email::token::send_instead(connection, &sealer, user, purpose, about, mail).await?;
            if !sent.is_sent() {
                return Ok(RequestOutcome::OverLimit);
            }
            audit::record(
                connection,
                Event {
                    kind: EventKind::EmailChangeRequested,
                    user: Some(user),
                    session: None,
                    origin: &origin,
                    details: json!({}),
                },
            )
            .await?;
            Ok(RequestOutcome::Sent)
        })
    });
    request.await
}

/// Changes the email of `owner` to that of the consumed link `new`, and applies the session rules. `None` if
/// another account now has the email. `session` is the current session, if any.
pub(in crate::user) async fn apply(
    connection: &mut PgConnection,
    sealer: &Sealer,
    owner: LockedUser,
    new: &ConsumedLink,
    session: Option<SessionId>,
    origin: &Origin,
    by: &'static str,
) -> sqlx::Result<Option<AppliedRule>> {
    let user = owner.id;
    let about = (new.email.as_str(), new.email_canonical.as_str());
    if !set_email(connection, user, about, true).await? {
        return Ok(None);
    }
    let applied =
        session_rules::apply(connection, AccountEvent::EmailChanged, user, session, origin).await?;
    let source = notice::source_now(connection, origin).await?;
    notify_former_email(connection, sealer, &owner, &new.email, &source).await?;
    let display_name = owner.display_name;
    let (restored, deletion_canceled) = (false, false);
    let message = Message::EmailConfirmed { display_name, restored, deletion_canceled, source };
    outbox::enqueue(connection, sealer, Some(user), &new.email, &message).await?;
    outbox::assign_to_user(connection, user, &owner.email_canonical).await?;
    let details = json!({ "by": by, "ended_sessions": applied.ended_sessions });
    record(connection, EventKind::EmailChanged, user, details, origin).await?;
    Ok(Some(applied))
}

/// The outcome of [`set_by_operator`].
#[derive(Debug, PartialEq, Eq)]
pub enum SetOutcome {
    /// The email was changed.
    Done {
        /// The former email is notified, because it was verified.
        former_is_notified: bool,
        /// The new email gets a link to verify it: it has not got too much such mail.
        link_is_sent: bool,
    },
    /// The email differs from the former one in upper and lower case only. It stays verified, and no session ends.
    Respelled,
    /// It is the email of the account already.
    Unchanged,
    /// Another account has it.
    EmailTaken,
    /// The account is disabled, or was deleted. Nothing was changed.
    Disabled,
}

/// Changes the email of `user`, without a proof that the user receives mail there: for operators. The former email
/// is notified, if it was verified; the new one gets a link to verify it.
#[tracing::instrument(level = "debug", skip_all, fields(%user))]
pub async fn set_by_operator(
    pool: &PgPool,
    sealer: Sealer,
    hooks: &Hooks,
    user: UserId,
    new: EmailAddress,
    origin: Origin,
) -> sqlx::Result<SetOutcome> {
    let hooks = hooks.clone();
    let set = db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            let Some(owner) = email::token::lock_owner(connection, user).await? else {
                return Ok(SetOutcome::Disabled);
            };
            if owner.email == new.as_typed() {
                return Ok(SetOutcome::Unchanged);
            }
            if owner.email_canonical == new.canonical() {
                respell(connection, user, new.as_typed(), &origin).await?;
                let event = EmailChanged::new(user, owner.email, new.as_typed());
                hooks.email_changed(connection, event).await?;
                return Ok(SetOutcome::Respelled);
            }
            let about = (new.as_typed(), new.canonical());
            if !set_email(connection, user, about, false).await? {
                return Ok(SetOutcome::EmailTaken);
            }
            let event = AccountEvent::EmailChanged;
            let applied = session_rules::apply(connection, event, user, None, &origin).await?;
            let source = notice::source_now(connection, &origin).await?;
            let former_is_notified =
                notify_former_email(connection, &sealer, &owner, new.as_typed(), &source).await?;
            let purpose = Purpose::VerifyEmail;
            let message = |link: NewLink| {
                let (display_name, token, code) =
                    (owner.display_name.clone(), link.token, link.code);
                Message::VerifyEmail { display_name, token, code }
            };
            let link =
                email::token::send(connection, &sealer, user, purpose, about, message).await?;
            outbox::assign_to_user(connection, user, &owner.email_canonical).await?;
            let details = json!({ "by": "operator", "ended_sessions": applied.ended_sessions });
            record(connection, EventKind::EmailChanged, user, details, &origin).await?;
            let event = EmailChanged::new(user, owner.email, new.as_typed());
            hooks.email_changed(connection, event).await?;
            Ok(SetOutcome::Done { former_is_notified, link_is_sent: link.is_sent() })
        })
    })
    .await;
    set.or_else(|error| if is_taken(&error) { Ok(SetOutcome::EmailTaken) } else { Err(error) })
}

/// Changes how the email of `user` is spelled. The canonical email stays the same.
async fn respell(
    connection: &mut PgConnection,
    user: UserId,
    email: &str,
    origin: &Origin,
) -> sqlx::Result<()> {
    sqlx::query!("UPDATE users SET email = $2 WHERE id = $1", user as UserId, email)
        .execute(&mut *connection)
        .await?;
    let details = json!({ "by": "operator", "ended_sessions": 0 });
    record(connection, EventKind::EmailChanged, user, details, origin).await
}

/// Tells the former email of `owner` about the change, with a link that undoes it. An unverified former email may
/// belong to a stranger because of a typo, so it gets no mail. Returns whether it is notified.
async fn notify_former_email(
    connection: &mut PgConnection,
    sealer: &Sealer,
    owner: &LockedUser,
    new_email: &str,
    source: &Source,
) -> sqlx::Result<bool> {
    if owner.email_verified_at.is_none() {
        return Ok(false);
    }
    let about = (owner.email.as_str(), owner.email_canonical.as_str());
    let message = |link: NewLink| Message::EmailChanged {
        display_name: owner.display_name.clone(),
        new_email: new_email.to_owned(),
        undo_token: link.token,
        source: source.clone(),
    };
    let purpose = Purpose::UndoEmailChange;
    let sent = email::token::send(connection, sealer, owner.id, purpose, about, message).await?;
    Ok(sent.is_sent())
}

/// Sets an email, which was verified or not. `false` if another account has it.
pub(in crate::user) async fn set_email(
    connection: &mut PgConnection,
    user: UserId,
    (email, email_canonical): (&str, &str),
    is_verified: bool,
) -> sqlx::Result<bool> {
    let set = sqlx::query!(
        r#"
        UPDATE users
           SET email = $2,
               email_canonical = $3,
               email_verified_at = CASE WHEN $4 THEN now() END
         WHERE id = $1
           AND NOT EXISTS (
               SELECT FROM users WHERE email_canonical = $3 AND id <> $1)
        "#,
        user as UserId,
        email,
        email_canonical,
        is_verified,
    )
    .execute(connection)
    .await?;
    Ok(set.rows_affected() == 1)
}

/// Whether a transaction was rolled back because a concurrent one gave the email to another account.
pub(in crate::user) fn is_taken(error: &sqlx::Error) -> bool {
    db::violated_constraint(error) == Some("users_email_canonical_key")
}

pub(in crate::user) async fn record(
    connection: &mut PgConnection,
    kind: EventKind,
    user: UserId,
    details: serde_json::Value,
    origin: &Origin,
) -> sqlx::Result<()> {
    let user = Some(user);
    audit::record(connection, Event { kind, user, session: None, origin, details }).await
}
