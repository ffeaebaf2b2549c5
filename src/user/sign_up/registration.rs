//! Becoming somebody with an account. Owns the table `registrations`: people who have not yet shown that the address is
//! theirs, and have no account until then. For an address with an account and for one without, [`insert_pending`] does the same;
//! what differs happens in [`super::pending_mail`], which no page waits for (ASVS 5.0 V6.3.8).
//!
//! What is prepared for an address by whoever does not read its mail comes to nothing: the link asks for the password that
//! was chosen, the code counts in the browser that registered, and once somebody has proved an address, every other
//! registration of it is gone.

use std::time::Duration;

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::audit::{self, Event, EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::{Digest, Secret};
use crate::db;
use crate::mail::{Message, outbox};
use crate::role::Role;
use crate::user::display_name::DisplayName;
use crate::user::email;
use crate::user::email::address::EmailAddress;
use crate::user::email::code::{CODE_TRIES, Code};
use crate::user::email::token::Purpose;
use crate::user::password::hasher::PasswordHash;
use crate::user::users::{self, InsertOutcome, New, User};

/// A registration waits so long for its proof, in seconds.
pub const LIFETIME: f64 = 24.0 * 3600.0;

/// Makes an account at once, whose address is still to be shown: with `mail`, by a link that is on its way when this
/// returns.
pub async fn register_unverified(
    pool: &PgPool,
    mail: Option<Sealer>,
    email: EmailAddress,
    display_name: DisplayName,
    hash: PasswordHash,
    origin: Origin,
) -> sqlx::Result<InsertOutcome> {
    db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            if email::token::is_kept_for_undo(connection, &email).await? {
                return Ok(InsertOutcome::EmailTaken);
            }
            let new = New {
                email: email.as_typed(),
                email_canonical: email.canonical(),
                display_name: display_name.as_str(),
                role: Role::User,
                password_hash: hash.as_str(),
                is_verified: false,
            };
            let inserted = users::insert_in(connection, new, &origin).await?;
            if let (InsertOutcome::Done(user), Some(sealer)) = (&inserted, mail) {
                let id = user.id;
                let about = (email.as_typed(), email.canonical());
                let purpose = Purpose::VerifyEmail;
                let issued = email::token::issue(connection, &sealer, id, purpose, about).await?;
                let message = Message::VerifyEmail {
                    display_name: display_name.as_str().to_owned(),
                    token: issued.token,
                    code: issued.code,
                };
                outbox::enqueue(connection, &sealer, Some(id), email.as_typed(), &message).await?;
            }
            Ok(inserted)
        })
    })
    .await
}

/// Notes that somebody registered, whether the address has an account or not. `ticket` stays in that browser.
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
        LIFETIME,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// A registration that can still become an account.
pub struct PendingRegistration {
    /// Its row.
    pub id: Uuid,
    /// As typed.
    pub email: String,
    /// As it is compared.
    pub email_canonical: String,
    /// Of the password that was chosen.
    pub password_hash: String,
}

impl PendingRegistration {
    /// By what tries about it alone are counted.
    pub fn name(&self) -> String {
        row_name(self.id)
    }
}

/// The one that this browser began. Changes nothing.
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
    .fetch_optional(pool)
    .await
}

/// The one of a link. Changes nothing.
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
    .fetch_optional(pool)
    .await
}

/// Asks for another mail; the link and the code of the last one are dead.
pub async fn request_new_mail(pool: &PgPool, ticket: &Secret) -> sqlx::Result<bool> {
    let ticket = ticket.digest();
    let asked = sqlx::query!(
        r#"
        UPDATE registrations
           SET mailed_at = NULL,
               token_digest = NULL,
               code_digest = NULL,
               code_expires_at = NULL
         WHERE ticket_digest = $1
           AND expires_at > now()
        "#,
        ticket.as_bytes(),
    )
    .execute(pool)
    .await?;
    Ok(asked.rows_affected() == 1)
}

/// What came of a link or a code.
#[derive(Debug)]
pub enum RegistrationOutcome {
    /// The account is there.
    Done {
        /// As it was inserted.
        user: Box<User>,
        /// How long ago the password was typed that was chosen for it.
        password_age: Duration,
    },
    /// That was not the code; it was counted.
    WrongCode,
    /// The code was tried too often or is too old; another mail brings a new one.
    DeadCode,
    /// There is no such registration any more.
    Gone,
}

/// Makes the account of a link, whose password the caller has verified.
pub async fn finish_by_link(
    pool: &PgPool,
    token: &Secret,
    origin: Origin,
) -> sqlx::Result<RegistrationOutcome> {
    let token = token.digest();
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            lock_address(connection, Some(&token), None).await?;
            let row = sqlx::query_scalar!(
                "SELECT id FROM registrations WHERE token_digest = $1 AND expires_at > now()",
                token.as_bytes(),
            )
            .fetch_optional(&mut *connection)
            .await?;
            match row {
                Some(row) => finish(connection, row, "link", &origin).await,
                None => Ok(RegistrationOutcome::Gone),
            }
        })
    })
    .await
}

/// Makes the account of a code, typed in the browser that holds `ticket`.
pub async fn finish_by_code(
    pool: &PgPool,
    sealer: Sealer,
    ticket: &Secret,
    code: Code,
    origin: Origin,
) -> sqlx::Result<RegistrationOutcome> {
    let ticket = ticket.digest();
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            lock_address(connection, None, Some(&ticket)).await?;
            // Counted before it is compared. A row of an address that has an account is counted too: it looks the same.
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
                CODE_TRIES,
            )
            .fetch_optional(&mut *connection)
            .await?;
            let Some(row) = row else { return Ok(RegistrationOutcome::Gone) };
            if !row.alive {
                return Ok(RegistrationOutcome::DeadCode);
            }
            if !code.is(&sealer, &row_name(row.id), row.code_digest.as_deref()) {
                return Ok(RegistrationOutcome::WrongCode);
            }
            finish(connection, row.id, "code", &origin).await
        })
    })
    .await
}

/// Locks every registration of the address, always in the same order: two of them that are finished at once wait for each
/// other instead of each holding what the other needs.
async fn lock_address(
    connection: &mut PgConnection,
    token: Option<&Digest>,
    ticket: Option<&Digest>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        SELECT id
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
    .fetch_all(connection)
    .await?;
    Ok(())
}

/// The registration becomes an account, and with it every other one of the address is gone.
async fn finish(
    connection: &mut PgConnection,
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
    let Some(row) = row else { return Ok(RegistrationOutcome::Gone) };
    sqlx::query!("DELETE FROM registrations WHERE email_canonical = $1", row.email_canonical)
        .execute(&mut *connection)
        .await?;
    let new = New {
        email: &row.email,
        email_canonical: &row.email_canonical,
        display_name: &row.display_name,
        role: Role::User,
        password_hash: &row.password_hash,
        is_verified: true,
    };
    match users::insert_in(connection, new, origin).await? {
        InsertOutcome::EmailTaken => Ok(RegistrationOutcome::Gone),
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

/// The row that a code is bound to.
pub(in crate::user) fn row_name(id: Uuid) -> String {
    format!("registrations:{id}")
}
