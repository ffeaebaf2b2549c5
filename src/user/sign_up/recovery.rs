//! Somebody forgot a password. Owns the table `recovery_requests`. The page only notes the request, in one statement that
//! does the same for every address; whether there is such an account is asked afterwards, by [`super::pending_mail`], which no page
//! waits for, and told to nobody but the one who reads the account's mail.

use sqlx::PgPool;
use uuid::Uuid;

use crate::audit::Origin;
use crate::user::email::address::EmailAddress;

/// Notes that somebody asked for a link to set the password of the account of `email`, if there is one.
pub async fn request(pool: &PgPool, email: &EmailAddress, origin: &Origin) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO recovery_requests (id, email_canonical, ip_address, user_agent, request_id)
        VALUES ($1, $2, CAST($3::text AS inet), $4, $5)
        "#,
        Uuid::now_v7(),
        email.canonical(),
        origin.ip_address.map(|address| address.to_string()),
        origin.user_agent,
        origin.request_id,
    )
    .execute(pool)
    .await?;
    Ok(())
}
