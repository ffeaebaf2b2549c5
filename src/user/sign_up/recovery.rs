//! Password-reset requests. Owns the table `recovery_requests`. The page only inserts the request, with the
//! same statement for every email. [`super::pending_mail`] looks up the account later, in the background, so
//! that only the recipient of the mail learns whether there is one.

use sqlx::PgPool;
use uuid::Uuid;

use crate::audit::Origin;
use crate::db;
use crate::mail::address::EmailAddress;

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
