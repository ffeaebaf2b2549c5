//! Registration. Owns the table `registrations`: pending registrations, which become accounts when the email
//! is verified. [`insert_pending`] does the same for emails with and without an account; they differ only in
//! the mail that [`super::pending_mail`] sends in the background (ASVS 5.0 V6.3.8).
//!
//! Prevents pre-hijacking (an attacker registers with a victim's email and the victim activates the account):
//! the link asks for the password that was chosen at registration, the code works only in the browser that
//! registered, and when an email is verified, every other registration of it is deleted.

use std::time::Duration;

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::audit::{self, Event, EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::{Digest, Secret};
use crate::db;
use crate::events::{Hooks, RegisteredBy};
use crate::lifetimes;
use crate::mail::address::EmailAddress;
use crate::role::Role;
use crate::user::display_name::DisplayName;
use crate::user::email;
use crate::user::email::code::{Code, MAX_CODE_ATTEMPTS};
use crate::user::email::token::Purpose;
use crate::user::email::verification;
use crate::user::password::hasher::PasswordHash;
use crate::user::users::{self, InsertOutcome, NewUser, User};

/// Creates an account whose email is not verified. With `mail`, a verification mail is in the outbox when
/// this returns, unless the email has got too much mail; the user can request another one later.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn register_unverified(
    pool: &PgPool,
    hooks: &Hooks,
    mail: Option<Sealer>,
    email: EmailAddress,
    display_name: DisplayName,
    hash: PasswordHash,
    origin: Origin,
) -> sqlx::Result<InsertOutcome> {
    let hooks = hooks.clone();
    db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            if is_reserved_for_undo(connection, &email).await? {
                return Ok(InsertOutcome::EmailTaken);
            }
            let new = NewUser {
                email: email.as_typed(),
                email_canonical: email.canonical(),
                display_name: display_name.as_str(),
                role: Role::User,
                password_hash: Some(hash.as_str()),
                is_verified: false,
                by: RegisteredBy::User,
            };
            let inserted = users::insert_in(connection, &hooks, new, &origin).await?;
            if let (InsertOutcome::Done(user), Some(sealer)) = (&inserted, mail) {
                let (id, purpose) = (user.id, Purpose::VerifyEmail);
                let about = (email.as_typed(), email.canonical());
                let name = display_name.as_str().to_owned();
                let message = |secrets| verification::message(name, secrets);
                email::token::send(connection, &sealer, id, purpose, about, message).await?;
            }
            Ok(inserted)
        })
    })
    .await
}

/// Whether an undo link can still restore `email` to an account. Until that link expires, no account can be
/// created with the email without verifying it.
async fn is_reserved_for_undo(
    connection: &mut PgConnection,
    email: &EmailAddress,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
               SELECT FROM email_tokens
                WHERE purpose = 'undo_email_change'
                  AND email_canonical = $1
                  AND expires_at > now()) AS "kept!"
        "#,
        email.canonical(),
    )
    .fetch_one(connection)
    .await
}

/// Inserts a pending registration, whether the email has an account or not. `ticket` is the secret in the
/// registration cookie of the browser.
pub async fn insert_pending(
    pool: &PgPool,
    ticket: &Secret,
    email: &EmailAddress,
    display_name: &DisplayName,
    hash: &PasswordHash,
) -> sqlx::Result<()> {
    let ticket = ticket.digest();
    sqlx::query!(
        r#"
        INSERT INTO registrations
               (id, ticket_digest, email, email_canonical, display_name, password_hash, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))
        "#,
        Uuid::now_v7(),
        ticket.as_bytes(),
        email.as_typed(),
        email.canonical(),
        display_name.as_str(),
        hash.as_str(),
        lifetimes::REGISTRATION.as_secs_f64(),
    )
    .execute(db::on(pool))
    .await?;
    Ok(())
}

/// A registration that has not expired.
pub struct PendingRegistration {
    /// The id of the row.
    pub id: Uuid,
    /// As typed.
    pub email: String,
    /// Canonical.
    pub email_canonical: String,
    /// The hash of the password that was chosen.
    pub password_hash: String,
}

impl PendingRegistration {
    /// The rate-limit subject of attempts at this registration.
    pub fn name(&self) -> String {
        row_name(self.id)
    }
}

/// Finds the registration of the browser that holds `ticket`.
pub async fn find_by_ticket(
    pool: &PgPool,
    ticket: &Secret,
) -> sqlx::Result<Option<PendingRegistration>> {
    let ticket = ticket.digest();
    sqlx::query_as!(
        PendingRegistration,
        r#"
        SELECT id, email, email_canonical, password_hash
          FROM registrations
         WHERE ticket_digest = $1
           AND expires_at > now()
        "#,
        ticket.as_bytes(),
    )
    .fetch_optional(db::on(pool))
    .await
}

/// Finds the registration of a mailed link.
pub async fn find_by_token(
    pool: &PgPool,
    token: &Secret,
) -> sqlx::Result<Option<PendingRegistration>> {
    let token = token.digest();
    sqlx::query_as!(
        PendingRegistration,
        r#"
        SELECT id, email, email_canonical, password_hash
          FROM registrations
         WHERE token_digest = $1
           AND expires_at > now()
        "#,
        token.as_bytes(),
    )
    .fetch_optional(db::on(pool))
    .await
}

/// Requests another mail. The link and the code of the last one are valid until [`super::pending_mail`] has
/// enqueued it. `false` if there is no such registration.
pub async fn request_new_mail(pool: &PgPool, ticket: &Secret) -> sqlx::Result<bool> {
    let ticket = ticket.digest();
    let updated = sqlx::query!(
        r#"
        UPDATE registrations
           SET mailed_at = NULL
         WHERE ticket_digest = $1
           AND expires_at > now()
        "#,
        ticket.as_bytes(),
    )
    .execute(db::on(pool))
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// The outcome of a link or a code.
#[derive(Debug)]
pub enum RegistrationOutcome {
    /// The account was created.
    Done {
        /// The account as it was inserted.
        user: Box<User>,
        /// How long ago the password was chosen.
        password_age: Duration,
    },
    /// The code is wrong, and the attempt was counted.
    WrongCode,
    /// The code has expired or was attempted too often; another mail has a new one.
    ExpiredCode,
    /// There is no such registration.
    NotFound,
}

/// Creates the account of a link, whose password the caller has verified.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn finish_by_link(
    pool: &PgPool,
    hooks: &Hooks,
    token: &Secret,
    origin: Origin,
) -> sqlx::Result<RegistrationOutcome> {
    let (token, hooks) = (token.digest(), hooks.clone());
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            lock_registrations(connection, Some(&token), None).await?;
            let row = sqlx::query_scalar!(
                "SELECT id FROM registrations WHERE token_digest = $1 AND expires_at > now()",
                token.as_bytes(),
            )
            .fetch_optional(&mut *connection)
            .await?;
            match row {
                Some(row) => finish(connection, &hooks, row, "link", &origin).await,
                None => Ok(RegistrationOutcome::NotFound),
            }
        })
    })
    .await
}

/// Creates the account of a code that was entered in the browser that holds `ticket`.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn finish_by_code(
    pool: &PgPool,
    sealer: Sealer,
    hooks: &Hooks,
    ticket: &Secret,
    code: Code,
    origin: Origin,
) -> sqlx::Result<RegistrationOutcome> {
    let (ticket, hooks) = (ticket.digest(), hooks.clone());
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            lock_registrations(connection, None, Some(&ticket)).await?;
            // The attempt is counted before the comparison, also if the email has an account, so that both
            // cases behave the same.
            let row = sqlx::query!(
                r#"
                UPDATE registrations
                   SET code_tries = code_tries + 1
                 WHERE ticket_digest = $1
                   AND expires_at > now()
                RETURNING id, code_digest,
                          (code_tries <= $2 AND code_expires_at > now()) IS TRUE AS "alive!"
                "#,
                ticket.as_bytes(),
                MAX_CODE_ATTEMPTS,
            )
            .fetch_optional(&mut *connection)
            .await?;
            let Some(row) = row else { return Ok(RegistrationOutcome::NotFound) };
            if !row.alive {
                return Ok(RegistrationOutcome::ExpiredCode);
            }
            if !code.matches(&sealer, &row_name(row.id), row.code_digest.as_deref()) {
                return Ok(RegistrationOutcome::WrongCode);
            }
            finish(connection, &hooks, row.id, "code", &origin).await
        })
    })
    .await
}

/// Locks every registration of the same email in the order of their ids: two transactions that complete two
/// of them at the same time cannot deadlock.
async fn lock_registrations(
    connection: &mut PgConnection,
    token: Option<&Digest>,
    ticket: Option<&Digest>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        SELECT
          FROM registrations
         WHERE email_canonical = (
               SELECT email_canonical
                 FROM registrations
                WHERE token_digest = $1
                   OR ticket_digest = $2)
         ORDER BY id
           FOR UPDATE
        "#,
        token.map(Digest::as_bytes),
        ticket.map(Digest::as_bytes),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Creates the account of the registration and deletes all other registrations of the email.
async fn finish(
    connection: &mut PgConnection,
    hooks: &Hooks,
    row: Uuid,
    by: &'static str,
    origin: &Origin,
) -> sqlx::Result<RegistrationOutcome> {
    let row = sqlx::query!(
        r#"
        DELETE FROM registrations
         WHERE id = $1
        RETURNING email, email_canonical, display_name, password_hash,
                  date_part('epoch', now() - created_at) AS "seconds!"
        "#,
        row,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(RegistrationOutcome::NotFound) };
    sqlx::query!("DELETE FROM registrations WHERE email_canonical = $1", row.email_canonical)
        .execute(&mut *connection)
        .await?;
    let new = NewUser {
        email: &row.email,
        email_canonical: &row.email_canonical,
        display_name: &row.display_name,
        role: Role::User,
        password_hash: Some(&row.password_hash),
        is_verified: true,
        by: RegisteredBy::User,
    };
    match users::insert_in(connection, hooks, new, origin).await? {
        InsertOutcome::EmailTaken => Ok(RegistrationOutcome::NotFound),
        InsertOutcome::Done(user) => {
            audit::record(
                connection,
                Event {
                    kind: EventKind::EmailVerified,
                    user: Some(user.id),
                    session: None,
                    origin,
                    details: json!({ "by": by }),
                },
            )
            .await?;
            let password_age = Duration::try_from_secs_f64(row.seconds).unwrap_or_default();
            Ok(RegistrationOutcome::Done { user: Box::new(user), password_age })
        }
    }
}

/// Names the row that a code is bound to.
pub(in crate::user) fn row_name(id: Uuid) -> String {
    format!("registrations:{id}")
}
