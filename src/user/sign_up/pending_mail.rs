//! What registrations and forgotten passwords are answered by mail, beside the pages: a page that waited for it would tell
//! by its time whether an address has an account.

use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;

use super::registration::row_name;
use crate::audit::{self, Actor, Event, EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::Secret;
use crate::db;
use crate::id::UserId;
use crate::mail::{Message, outbox};
use crate::user::email;
use crate::user::email::code::{CODE_SECONDS, Code};
use crate::user::email::token::Purpose;
use crate::user::rate_limit::{self, Action};

/// How often to look by itself, for what another server noted.
pub const EVERY: Duration = Duration::from_secs(2);

/// Answers all that waits; what cannot be answered now waits for the next round.
pub async fn run_once(pool: &PgPool, sealer: &Sealer) {
    if let Err(error) = all(pool, sealer).await {
        tracing::warn!(%error, "registrations and forgotten passwords wait to be answered");
    }
}

async fn all(pool: &PgPool, sealer: &Sealer) -> sqlx::Result<()> {
    while registration(pool, sealer.clone()).await? {}
    while recovery(pool, sealer.clone()).await? {}
    Ok(())
}

/// Writes the mail of the registration that waits longest, one transaction for all of it: a link and a code, or word to the
/// owner that the address has an account already. Where an address has had too many it waits on. `false` when none can be
/// written. Several servers share the work.
async fn registration(pool: &PgPool, sealer: Sealer) -> sqlx::Result<bool> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let waiting = sqlx::query!(
                r#"
                SELECT id, email, email_canonical, display_name
                  FROM registrations
                 WHERE mailed_at IS NULL
                   AND NOT EXISTS (
                       SELECT
                         FROM throttles t
                        WHERE t.action = 'register_mail'
                          AND t.subject = sha256($1::bytea || convert_to(email_canonical, 'UTF8'))
                          AND t.free_at > clock_timestamp())
                 ORDER BY created_at
                 LIMIT 1
                   FOR UPDATE SKIP LOCKED
                "#,
                rate_limit::account_prefix(),
            )
            .fetch_optional(&mut *connection)
            .await?;
            let Some(row) = waiting else { return Ok(false) };
            // Locked before the counter, as a reset does, which forgets the counter; the mail would lock it too.
            let owner = sqlx::query!(
                "SELECT id, email, display_name FROM users WHERE email_canonical = $1 FOR KEY SHARE",
                row.email_canonical,
            )
            .fetch_optional(&mut *connection)
            .await?;
            // Another server may have written one to that address in this very moment.
            if !rate_limit::permits_mail(connection, Action::Register, &row.email_canonical).await? {
                return Ok(true);
            }
            // The same statements for both: the time until the next page is served tells nothing either.
            let (token, code) = (Secret::generate(), Code::generate());
            let digests = owner.is_none().then(|| {
                (token.digest().as_bytes().to_vec(), code.digest(&sealer, &row_name(row.id)))
            });
            let (token_digest, code_digest) = digests.unzip();
            sqlx::query!(
                r#"
                UPDATE registrations
                   SET mailed_at = now(),
                       token_digest = $2,
                       code_digest = $3,
                       code_tries = 0,
                       code_expires_at = now() + make_interval(secs => $4)
                 WHERE id = $1
                "#,
                row.id,
                token_digest,
                code_digest.as_ref().map(|digest| &digest[..]),
                CODE_SECONDS,
            )
            .execute(&mut *connection)
            .await?;
            let (user, recipient, message) = match owner {
                Some(owner) => (
                    Some(UserId::from(owner.id)),
                    owner.email,
                    Message::AlreadyRegistered { display_name: owner.display_name },
                ),
                None => (
                    None,
                    row.email,
                    Message::VerifyRegistration {
                        display_name: row.display_name,
                        token: token.reveal(),
                        code: code.reveal(),
                    },
                ),
            };
            outbox::enqueue(connection, &sealer, user, &recipient, &message).await?;
            Ok(true)
        })
    })
    .await
}

/// Answers the oldest request, one transaction for all of it: a link to the address that the account has, which ends older
/// links; nothing where there is no account, or a disabled one, and nothing where many were sent of late and the last one
/// works. `false` when none waits. Several servers share the work.
async fn recovery(pool: &PgPool, sealer: Sealer) -> sqlx::Result<bool> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let request = sqlx::query!(
                r#"
                DELETE FROM recovery_requests
                 WHERE id = (
                       SELECT id
                         FROM recovery_requests
                        ORDER BY id
                        LIMIT 1
                          FOR UPDATE SKIP LOCKED)
                RETURNING email_canonical, host(ip_address) AS ip_address, user_agent, request_id
                "#,
            )
            .fetch_optional(&mut *connection)
            .await?;
            let Some(request) = request else { return Ok(false) };
            let user = sqlx::query_scalar!(
                "SELECT id FROM users WHERE email_canonical = $1",
                request.email_canonical,
            )
            .fetch_optional(&mut *connection)
            .await?;
            let owner = match user {
                Some(user) => email::token::lock_owner(connection, UserId::from(user)).await?,
                None => None,
            };
            // The address may have become another one's while the lock was waited for.
            let owner = owner.filter(|owner| owner.email_canonical == request.email_canonical);
            let Some(owner) = owner else { return Ok(true) };
            let (user, purpose) = (owner.id, Purpose::ResetPassword);
            let about = (owner.email.as_str(), owner.email_canonical.as_str());
            let has_one = email::token::is_alive(connection, &owner, purpose).await?;
            if !rate_limit::permits_mail(connection, Action::Recover, about.1).await? && has_one {
                return Ok(true);
            }
            let issued = email::token::issue(connection, &sealer, user, purpose, about).await?;
            let message = Message::ResetPassword {
                display_name: owner.display_name.clone(),
                token: issued.token,
            };
            outbox::enqueue(connection, &sealer, Some(user), &owner.email, &message).await?;
            let origin = Origin {
                actor: Actor::User,
                ip_address: request.ip_address.and_then(|address| address.parse().ok()),
                user_agent: request.user_agent,
                request_id: request.request_id,
            };
            audit::record(
                connection,
                Event {
                    kind: EventKind::PasswordResetRequested,
                    user: Some(user),
                    session: None,
                    origin: &origin,
                    details: json!({}),
                },
            )
            .await?;
            Ok(true)
        })
    })
    .await
}
