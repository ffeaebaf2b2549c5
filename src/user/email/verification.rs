//! Verifies an email by a mailed link or code: the account's current email, or a new one, which then becomes
//! the account's email. The user must also be authenticated as the owner of the account, by a session or the
//! password ([`Authorization`]), so that someone else who can read the mail cannot confirm it.

use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::code::Code;
use super::token::{CodeOutcome, LockedUser, NewLink, Purpose};
use crate::audit::{EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::Secret;
use crate::db;
use crate::events::{EmailChanged, Hooks};
use crate::id::{SessionId, UserId};
use crate::mail::Message;
use crate::session::{Lock, Requester, SessionEnded};
use crate::user::email;
use crate::user::session_rules::AppliedRule;

/// The outcome of [`send`].
#[derive(Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// A mail with a link and a code is in the outbox.
    Sent,
    /// The email is already verified.
    AlreadyVerified,
    /// Enough mails were sent recently. The last link is still valid.
    OverLimit,
}

/// The message with a new link to the email of the account.
pub(in crate::user) fn message(display_name: String, link: NewLink) -> Message {
    Message::VerifyEmail { display_name, token: link.token, code: link.code }
}

/// Sends a link and a code to the account's email, and invalidates older ones.
#[tracing::instrument(level = "debug", skip_all, fields(user = %requester.user))]
pub async fn send(
    pool: &PgPool,
    sealer: Sealer,
    requester: &Requester,
) -> sqlx::Result<Result<SendOutcome, SessionEnded>> {
    let user = requester.user;
    let send = requester.transaction(pool, Lock::UserAndSession, move |connection| {
        Box::pin(async move {
            let owner = email::token::lock_owner(connection, user).await?;
            let Some(owner) = owner.filter(|owner| owner.email_verified_at.is_none()) else {
                return Ok(SendOutcome::AlreadyVerified);
            };
            let about = (owner.email.as_str(), owner.email_canonical.as_str());
            let purpose = Purpose::VerifyEmail;
            let message = |link| message(owner.display_name.clone(), link);
            let sent =
                email::token::send(connection, &sealer, user, purpose, about, message).await?;
            Ok(if sent.is_sent() { SendOutcome::Sent } else { SendOutcome::OverLimit })
        })
    });
    send.await
}

/// The outcome of a link or a code.
#[derive(Debug)]
pub enum ConfirmationOutcome {
    /// The email is verified and is the email of the account.
    Done {
        /// The account.
        user: UserId,
        /// The email.
        email: String,
        /// The new secret of the current session, if the email of the account changed.
        secret: Option<Secret>,
        /// Whether the account's email changed. If so, its other sessions were revoked.
        changed: bool,
    },
    /// The code is wrong, and the attempt was counted.
    WrongCode,
    /// There is no such link or code, or another account has the email now.
    Invalid,
}

/// How the user of a link is authenticated as the owner of the account.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// A session of the account. If the email changes, this session is kept and the others are revoked.
    Session(Requester),
    /// The password of `user`, which the caller has just compared.
    Password {
        /// The account.
        user: UserId,
        /// The origin of the request, for the audit log.
        origin: Origin,
    },
}

impl Authorization {
    fn user(&self) -> UserId {
        match self {
            Self::Session(requester) => requester.user,
            Self::Password { user, .. } => *user,
        }
    }

    fn session(&self) -> Option<SessionId> {
        match self {
            Self::Session(requester) => Some(requester.session),
            Self::Password { .. } => None,
        }
    }

    fn origin(&self) -> &Origin {
        match self {
            Self::Session(Requester { origin, .. }) | Self::Password { origin, .. } => origin,
        }
    }
}

/// Uses a link that verifies an email of the authorized user.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn confirm_by_link(
    pool: &PgPool,
    sealer: Sealer,
    hooks: &Hooks,
    authorization: Authorization,
    token: &Secret,
) -> sqlx::Result<Result<ConfirmationOutcome, SessionEnded>> {
    let (token, hooks) = (token.digest(), hooks.clone());
    let confirmed = db::transaction(pool, move |connection| {
        Box::pin(async move {
            if let Authorization::Session(requester) = &authorization
                && let Err(ended) = requester.lock(connection).await?
            {
                return Ok(Err(ended));
            }
            let user = authorization.user();
            let Some(owner) = email::token::lock_owner(connection, user).await? else {
                return Ok(Ok(ConfirmationOutcome::Invalid));
            };
            let digest = token.as_bytes();
            confirm(connection, &sealer, &hooks, owner, digest, &authorization, "link")
                .await
                .map(Ok)
        })
    })
    .await;
    confirmed.or_else(invalid_if_email_taken)
}

/// Uses a code of the user who requests it, for the email of the account ([`Purpose::VerifyEmail`]) or for a
/// new one ([`Purpose::ChangeEmail`]).
#[tracing::instrument(level = "debug", skip_all, fields(user = %requester.user))]
pub async fn confirm_by_code(
    pool: &PgPool,
    sealer: Sealer,
    hooks: &Hooks,
    requester: &Requester,
    purpose: Purpose,
    code: Code,
) -> sqlx::Result<Result<ConfirmationOutcome, SessionEnded>> {
    let (user, hooks) = (requester.user, hooks.clone());
    let authorization = Authorization::Session(requester.clone());
    let confirm = requester.transaction(pool, Lock::UserAndSession, move |connection| {
        Box::pin(async move {
            let Some(owner) = email::token::lock_owner(connection, user).await? else {
                return Ok(ConfirmationOutcome::Invalid);
            };
            match email::token::check_code(connection, &sealer, user, purpose, &code).await? {
                CodeOutcome::Correct(token) => {
                    confirm(connection, &sealer, &hooks, owner, &token, &authorization, "code")
                        .await
                }
                CodeOutcome::Wrong => Ok(ConfirmationOutcome::WrongCode),
                CodeOutcome::Expired => Ok(ConfirmationOutcome::Invalid),
            }
        })
    });
    confirm.await.or_else(invalid_if_email_taken)
}

async fn confirm(
    connection: &mut PgConnection,
    sealer: &Sealer,
    hooks: &Hooks,
    owner: LockedUser,
    token: &[u8],
    authorization: &Authorization,
    by: &'static str,
) -> sqlx::Result<ConfirmationOutcome> {
    let user = owner.id;
    let (session, origin) = (authorization.session(), authorization.origin());
    let own = email::token::consume(connection, &owner, Purpose::VerifyEmail, token).await?;
    if own.is_some() {
        set_verified(connection, user).await?;
        email::change::record(
            connection,
            EventKind::EmailVerified,
            user,
            json!({ "by": by }),
            origin,
        )
        .await?;
        let (secret, changed) = (None, false);
        return Ok(ConfirmationOutcome::Done { user, email: owner.email, secret, changed });
    }
    let new = email::token::consume(connection, &owner, Purpose::ChangeEmail, token).await?;
    let Some(new) = new else { return Ok(ConfirmationOutcome::Invalid) };
    let event = EmailChanged::new(user, owner.email.clone(), &new.email);
    let applied =
        email::change::apply(connection, sealer, owner, &new, session, origin, by).await?;
    let Some(AppliedRule { secret, .. }) = applied else {
        return Ok(ConfirmationOutcome::Invalid);
    };
    hooks.email_changed(connection, event).await?;
    Ok(ConfirmationOutcome::Done { user, email: new.email, secret, changed: true })
}

/// Marks the email of `user` as verified, and deletes the links that would verify it: for operators. `false` if it
/// was verified already.
#[tracing::instrument(level = "debug", skip_all, fields(%user))]
pub async fn verify_by_operator(pool: &PgPool, user: UserId, origin: Origin) -> sqlx::Result<bool> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let verified = sqlx::query!(
                "UPDATE users SET email_verified_at = now() WHERE id = $1 AND email_verified_at IS NULL",
                user as UserId,
            )
            .execute(&mut *connection)
            .await?;
            if verified.rows_affected() == 0 {
                return Ok(false);
            }
            sqlx::query!(
                "DELETE FROM email_tokens WHERE user_id = $1 AND purpose = 'verify_email'",
                user as UserId,
            )
            .execute(&mut *connection)
            .await?;
            let details = json!({ "by": "operator" });
            email::change::record(connection, EventKind::EmailVerified, user, details, &origin)
                .await?;
            Ok(true)
        })
    })
    .await
}

async fn set_verified(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users SET email_verified_at = COALESCE(email_verified_at, now()) WHERE id = $1",
        user as UserId,
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn invalid_if_email_taken(
    error: sqlx::Error,
) -> sqlx::Result<Result<ConfirmationOutcome, SessionEnded>> {
    if email::change::is_taken(&error) { Ok(Ok(ConfirmationOutcome::Invalid)) } else { Err(error) }
}
