//! Sends registration and password-reset mail from a background job, so that response time does not reveal
//! whether an email has an account. Several servers share the work: each mail is one transaction that locks
//! its row. Each of the two queues has its own job, so that a row that waits for a lock does not delay the mail of
//! the other queue.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::recovery;
use super::registration::row_name;
use crate::audit::{Actor, Origin};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::Secret;
use crate::db;
use crate::id::UserId;
use crate::lifetimes;
use crate::mail::{Message, outbox};
use crate::user::email;
use crate::user::email::code::Code;
use crate::user::email::token::{LockedUser, Purpose};
use crate::user::queue::{self, Queue, TakenRow};
use crate::user::rate_limit::{self, AccountSubject, Action};

/// The polling interval, for work that other servers accepted or that a previous round left over.
pub const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Enqueues the mail of all registrations that have none.
pub async fn send_for_registrations(pool: PgPool, sealer: Sealer) {
    let step = |taken| send_for_registration(&pool, sealer.clone(), taken);
    queue::process(&pool, Queue::Registrations, step).await;
}

/// Processes all password-reset requests.
pub async fn process_reset_requests(pool: PgPool, sealer: Sealer) {
    let step = |taken| process_reset_request(&pool, sealer.clone(), taken);
    queue::process(&pool, Queue::RecoveryRequests, step).await;
}

/// A registration whose mail has not been enqueued.
struct UnmailedRegistration {
    id: Uuid,
    email: String,
    email_canonical: String,
    display_name: String,
}

/// An existing account with the email of a registration.
struct ExistingAccount {
    id: UserId,
    email: String,
    display_name: String,
}

/// Enqueues the mail of the oldest registration that has none: a link and a code, or, if the email already
/// has an account, a notice to its owner. Registrations of an email that has reached its mail limit are
/// skipped for now. `false` if none is left.
async fn send_for_registration(
    pool: &PgPool,
    sealer: Sealer,
    taken: TakenRow,
) -> sqlx::Result<bool> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let Some(registration) = lock_unmailed(connection, &sealer).await? else {
                return Ok(false);
            };
            taken.set(registration.id);
            // Locked before the counter, in the order of a password reset, which deletes the counter.
            // Inserting the mail locks it too.
            let existing = sqlx::query_as!(
                ExistingAccount,
                r#"
                SELECT id AS "id: UserId", email, display_name
                  FROM users
                 WHERE email_canonical = $1
                   FOR KEY SHARE
                "#,
                registration.email_canonical,
            )
            .fetch_optional(&mut *connection)
            .await?;
            // Another server may have sent one to the email since the registration was selected.
            let email = &registration.email_canonical;
            if rate_limit::permits_mail(connection, &sealer, Action::Register, email).await? {
                enqueue_mail(connection, &sealer, registration, existing).await?;
            }
            Ok(true)
        })
    })
    .await
}

async fn lock_unmailed(
    connection: &mut PgConnection,
    sealer: &Sealer,
) -> sqlx::Result<Option<UnmailedRegistration>> {
    let subject = AccountSubject::new(sealer);
    sqlx::query_as!(
        UnmailedRegistration,
        r#"
        SELECT id, email, email_canonical, display_name
          FROM registrations
         WHERE mailed_at IS NULL
           AND NOT EXISTS (
               SELECT
                 FROM queue_failures f
                WHERE f.queue = 'registrations'
                  AND f.row_id = registrations.id
                  AND (f.next_attempt_at IS NULL
                       OR f.next_attempt_at BETWEEN now() AND now() + interval '2 hours'))
           AND NOT EXISTS (
               SELECT
                 FROM throttles t
                WHERE t.action = 'register_mail'
                  AND t.subject = sha256($1::bytea || sha256($2::bytea || convert_to(email_canonical, 'UTF8')))
                  AND t.tries > 0
                  AND t.tried_at <= clock_timestamp()
                  AND t.free_at BETWEEN clock_timestamp() AND clock_timestamp() + make_interval(secs => $3))
         ORDER BY created_at
         LIMIT 1
           FOR UPDATE SKIP LOCKED
        "#,
        subject.outer,
        subject.inner,
        rate_limit::longest_mail_wait(Action::Register),
    )
    .fetch_optional(connection)
    .await
}

/// Replaces the link and the code of the registration, and moves its expiry, if the recipient may get the
/// mail. Otherwise the registration waits, and its last link stays valid. Runs the same statements with and
/// without an existing account, so that timing does not reveal it (user enumeration).
async fn enqueue_mail(
    connection: &mut PgConnection,
    sealer: &Sealer,
    registration: UnmailedRegistration,
    existing: Option<ExistingAccount>,
) -> sqlx::Result<()> {
    let (token, code) = (Secret::generate(), Code::generate());
    let digests = existing.is_none().then(|| {
        let code_digest = code.digest(sealer, &row_name(registration.id));
        (token.digest().as_bytes().to_vec(), code_digest)
    });
    let (token_digest, code_digest) = digests.unzip();
    let (user, recipient, message) = match existing {
        Some(existing) => {
            let (display_name, for_email_change) = (existing.display_name, false);
            let message = Message::AlreadyRegistered { display_name, for_email_change };
            (Some(existing.id), existing.email, message)
        }
        None => {
            let (token, code) = (token.reveal(), code.reveal());
            let display_name = registration.display_name;
            let message = Message::VerifyRegistration { display_name, token, code };
            (None, registration.email, message)
        }
    };
    if !outbox::enqueue(connection, sealer, user, &recipient, &message).await?.is_sent() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        UPDATE registrations
           SET mailed_at = now(),
               token_digest = $2,
               code_digest = $3,
               code_tries = 0,
               code_expires_at = now() + make_interval(secs => $4),
               expires_at = now() + make_interval(secs => $5)
         WHERE id = $1
        "#,
        registration.id,
        token_digest,
        code_digest.as_ref().map(|digest| &digest[..]),
        lifetimes::CODE.as_secs_f64(),
        lifetimes::REGISTRATION.as_secs_f64(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Processes the oldest password-reset request: sends a link to the account's email, which invalidates older
/// links. Nothing is sent if there is no such account, if it is disabled, or if its mail limit is reached and
/// the last link is still valid. `false` if no request is left.
async fn process_reset_request(
    pool: &PgPool,
    sealer: Sealer,
    taken: TakenRow,
) -> sqlx::Result<bool> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let request = sqlx::query!(
                r#"
                SELECT id, email_canonical, host(ip_address) AS ip_address, user_agent, request_id
                  FROM recovery_requests
                 WHERE NOT EXISTS (
                       SELECT
                         FROM queue_failures f
                        WHERE f.queue = 'recovery_requests'
                          AND f.row_id = recovery_requests.id
                          AND (f.next_attempt_at IS NULL
                               OR f.next_attempt_at BETWEEN now() AND now() + interval '2 hours'))
                 ORDER BY id
                 LIMIT 1
                   FOR UPDATE SKIP LOCKED
                "#,
            )
            .fetch_optional(&mut *connection)
            .await?;
            let Some(request) = request else { return Ok(false) };
            taken.set(request.id);
            sqlx::query!("DELETE FROM recovery_requests WHERE id = $1", request.id)
                .execute(&mut *connection)
                .await?;
            let origin = Origin {
                actor: Actor::User,
                ip_address: request.ip_address.and_then(|ip| ip.parse().ok()),
                user_agent: request.user_agent,
                request_id: request.request_id,
                operator: None,
            };
            if let Some(owner) = lock_owner_of_email(connection, &request.email_canonical).await? {
                send_reset_link(connection, &sealer, owner, &origin).await?;
            }
            Ok(true)
        })
    })
    .await
}

async fn lock_owner_of_email(
    connection: &mut PgConnection,
    email_canonical: &str,
) -> sqlx::Result<Option<LockedUser>> {
    let user = sqlx::query_scalar!(
        r#"SELECT id AS "id: UserId" FROM users WHERE email_canonical = $1"#,
        email_canonical,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(user) = user else { return Ok(None) };
    let owner = email::token::lock_owner(connection, user).await?;
    // The account's email may have changed before the lock was granted.
    Ok(owner.filter(|owner| owner.email_canonical == email_canonical))
}

async fn send_reset_link(
    connection: &mut PgConnection,
    sealer: &Sealer,
    owner: LockedUser,
    origin: &Origin,
) -> sqlx::Result<()> {
    let has_link = email::token::has_valid_link(connection, &owner, Purpose::ResetPassword).await?;
    let email = &owner.email_canonical;
    let is_permitted = rate_limit::permits_mail(connection, sealer, Action::Recover, email).await?;
    if !is_permitted && has_link {
        return Ok(());
    }
    recovery::send_link(connection, sealer, owner, origin).await?;
    Ok(())
}
