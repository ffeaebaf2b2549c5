//! Password-reset requests. Owns the table `recovery_requests`. The page only inserts the request, with the
//! same statement for every email. [`super::pending_mail`] looks up the account later, in the background, so
//! that only the recipient of the mail learns whether there is one.

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::audit::{self, Event, EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::db;
use crate::id::UserId;
use crate::mail::Message;
use crate::mail::address::EmailAddress;
use crate::user::email::token::{self, LockedUser, NewLink, Purpose};

/// Inserts a request for a password-reset link for the account of `email`, whether it exists or not.
pub async fn request(pool: &PgPool, email: &EmailAddress, origin: &Origin) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO recovery_requests (id, email_canonical, ip_address, user_agent, request_id)
        VALUES ($1, $2, CAST($3::text AS inet), $4, $5)
        "#,
        Uuid::now_v7(),
        email.canonical(),
        origin.ip_address.map(|ip| ip.to_string()),
        origin.user_agent,
        origin.request_id,
    )
    .execute(db::on(pool))
    .await?;
    Ok(())
}

/// The outcome of [`send_by_operator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The mail with the link is in the outbox.
    Sent,
    /// The recipient has got enough such mail for now.
    OverLimit,
    /// The account is disabled.
    Disabled,
}

/// Mails a password-reset link to `user`, which invalidates older ones: for operators.
#[tracing::instrument(level = "debug", skip_all, fields(%user))]
pub async fn send_by_operator(
    pool: &PgPool,
    sealer: Sealer,
    user: UserId,
    origin: Origin,
) -> sqlx::Result<SendOutcome> {
    db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            let Some(owner) = token::lock_owner(connection, user).await? else {
                return Ok(SendOutcome::Disabled);
            };
            let is_sent = send_link(connection, &sealer, owner, &origin).await?;
            Ok(if is_sent { SendOutcome::Sent } else { SendOutcome::OverLimit })
        })
    })
    .await
}

/// Mails a password-reset link to the owner of an account, whom the caller has locked. Invalidates older links.
/// `false` if the recipient has got enough such mail for now.
pub(super) async fn send_link(
    connection: &mut PgConnection,
    sealer: &Sealer,
    owner: LockedUser,
    origin: &Origin,
) -> sqlx::Result<bool> {
    let about = (owner.email.as_str(), owner.email_canonical.as_str());
    let message = |link: NewLink| {
        let (display_name, token) = (owner.display_name.clone(), link.token);
        Message::ResetPassword { display_name, token }
    };
    let purpose = Purpose::ResetPassword;
    let sent = token::send(connection, sealer, owner.id, purpose, about, message).await?;
    if !sent.is_sent() {
        return Ok(false);
    }
    let event = Event {
        kind: EventKind::PasswordResetRequested,
        user: Some(owner.id),
        session: None,
        origin,
        details: json!({}),
    };
    audit::record(connection, event).await?;
    Ok(true)
}
