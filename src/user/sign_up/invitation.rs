//! Invitations. Owns the table `invitations`. An administrator invites an email; the mailed link proves the email
//! and leads to choosing a password, also where registration is closed. An email has at most one invitation, and
//! another one replaces it.

use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::audit::{self, Event, EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::Secret;
use crate::db;
use crate::events::{Hooks, RegisteredBy};
use crate::lifetimes;
use crate::mail::address::EmailAddress;
use crate::mail::{Message, outbox};
use crate::role::Role;
use crate::user::display_name::DisplayName;
use crate::user::password::hasher::PasswordHash;
use crate::user::users::{self, InsertOutcome, NewUser, User};

/// How long an invitation can be accepted, for the calendar arithmetic of PostgreSQL.
const LIFETIME_DAYS: i32 = lifetimes::days(lifetimes::INVITATION);

/// An invitation that can be accepted.
#[derive(Debug)]
pub struct Invitation {
    /// The email that was invited.
    pub email: String,
    /// The name that the form suggests.
    pub display_name: Option<String>,
}

/// The outcome of [`create`].
#[derive(Debug, PartialEq, Eq)]
pub enum InviteOutcome {
    /// The invitation exists, and its mail is in the outbox.
    Sent,
    /// An account has the email. Nothing was changed.
    EmailTaken,
    /// The email got enough invitations recently. Nothing was changed: an earlier invitation is still valid.
    OverLimit,
}

/// Mails a link and inserts its invitation, in place of an earlier one of the email. The mail is enqueued first,
/// because an invitation whose link is not sent must not replace one whose link was sent.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn create(
    pool: &PgPool,
    sealer: Sealer,
    email: EmailAddress,
    display_name: Option<DisplayName>,
    role: Role,
    origin: Origin,
) -> sqlx::Result<InviteOutcome> {
    db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            // In the lock order: before the account and the limits of the email.
            sqlx::query!(
                "SELECT FROM invitations WHERE email_canonical = $1 FOR UPDATE",
                email.canonical(),
            )
            .execute(&mut *connection)
            .await?;
            let is_taken = sqlx::query_scalar!(
                r#"SELECT EXISTS (SELECT FROM users WHERE email_canonical = $1) AS "is_taken!""#,
                email.canonical(),
            )
            .fetch_one(&mut *connection)
            .await?;
            if is_taken {
                return Ok(InviteOutcome::EmailTaken);
            }
            let token = Secret::generate();
            let message = Message::Invitation { token: token.reveal() };
            let sent =
                outbox::enqueue(connection, &sealer, None, email.as_typed(), &message).await?;
            if !sent.is_sent() {
                return Ok(InviteOutcome::OverLimit);
            }
            let digest = token.digest();
            sqlx::query!(
                r#"
                INSERT INTO invitations
                       (id, token_digest, email, email_canonical, display_name, role, expires_at)
                VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(days => $7))
                    ON CONFLICT ON CONSTRAINT invitations_email_canonical_key DO UPDATE
                   SET id = EXCLUDED.id,
                       token_digest = EXCLUDED.token_digest,
                       email = EXCLUDED.email,
                       display_name = EXCLUDED.display_name,
                       role = EXCLUDED.role,
                       created_at = EXCLUDED.created_at,
                       expires_at = EXCLUDED.expires_at
                "#,
                Uuid::now_v7(),
                digest.as_bytes(),
                email.as_typed(),
                email.canonical(),
                display_name.as_ref().map(DisplayName::as_str),
                role.as_str(),
                LIFETIME_DAYS,
            )
            .execute(&mut *connection)
            .await?;
            let details = json!({ "role": role.as_str() });
            let (kind, origin) = (EventKind::Invited, &origin);
            let event = Event { kind, user: None, session: None, origin, details };
            audit::record(connection, event).await?;
            Ok(InviteOutcome::Sent)
        })
    })
    .await
}

/// Finds the invitation of a mailed link. `None` if it was accepted, replaced or has expired, or if the email has an
/// account by now.
pub async fn find(pool: &PgPool, token: &Secret) -> sqlx::Result<Option<Invitation>> {
    let token = token.digest();
    sqlx::query_as!(
        Invitation,
        r#"
        SELECT email, display_name
          FROM invitations i
         WHERE token_digest = $1
           AND expires_at > now()
           AND NOT EXISTS (SELECT FROM users u WHERE u.email_canonical = i.email_canonical)
        "#,
        token.as_bytes(),
    )
    .fetch_optional(db::on(pool))
    .await
}

/// Creates the account of an invitation, whose email is verified by the link, and deletes the invitation and every
/// registration of the email. `None` if the invitation can no longer be accepted.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn accept(
    pool: &PgPool,
    hooks: &Hooks,
    token: &Secret,
    display_name: DisplayName,
    hash: PasswordHash,
    origin: Origin,
) -> sqlx::Result<Option<User>> {
    let (token, hooks) = (token.digest(), hooks.clone());
    db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            let invitation = sqlx::query!(
                r#"
                DELETE FROM invitations
                 WHERE token_digest = $1
                   AND expires_at > now()
                RETURNING email, email_canonical, role AS "role: Role"
                "#,
                token.as_bytes(),
            )
            .fetch_optional(&mut *connection)
            .await?;
            let Some(invitation) = invitation else { return Ok(None) };
            // In the lock order: before the account is inserted.
            sqlx::query!(
                r#"
                DELETE FROM registrations
                 WHERE id IN (
                       SELECT id
                         FROM registrations
                        WHERE email_canonical = $1
                        ORDER BY id
                          FOR UPDATE)
                "#,
                invitation.email_canonical,
            )
            .execute(&mut *connection)
            .await?;
            let new = NewUser {
                email: &invitation.email,
                email_canonical: &invitation.email_canonical,
                display_name: display_name.as_str(),
                role: invitation.role,
                password_hash: Some(hash.as_str()),
                is_verified: true,
                by: RegisteredBy::Invitation,
            };
            let inserted = users::insert_in(connection, &hooks, new, &origin).await?;
            let InsertOutcome::Done(user) = inserted else { return Ok(None) };
            let (kind, details) = (EventKind::EmailVerified, json!({ "by": "invitation" }));
            let event =
                Event { kind, user: Some(user.id), session: None, origin: &origin, details };
            audit::record(connection, event).await?;
            Ok(Some(user))
        })
    })
    .await
}
