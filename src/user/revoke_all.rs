//! Revokes what existed before a time, for all accounts: after a backup was restored, or a secret leaked.

use sqlx::PgPool;
use time::OffsetDateTime;

use crate::audit::Origin;
use crate::db;
use crate::session::revoke;

/// What was revoked.
#[derive(Clone, Copy, Debug)]
pub struct Revoked {
    /// Sessions.
    pub sessions: u64,
    /// Links that were mailed to users with an account, and invitations.
    pub links: u64,
    /// Registrations that were not completed: their links and codes.
    pub registrations: u64,
    /// Requests for a password-reset link that no server has processed.
    pub recovery_requests: u64,
}

/// Revokes every session, mailed link, pending registration and password-reset request that was created before
/// `time`, in one transaction. The caller invalidates the sessions in the caches.
pub async fn created_before(
    pool: &PgPool,
    time: OffsetDateTime,
    origin: Origin,
) -> sqlx::Result<Revoked> {
    db::long_transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            // In the lock order.
            let invitations = sqlx::query!("DELETE FROM invitations WHERE created_at < $1", time)
                .execute(&mut *connection)
                .await?;
            let registrations =
                sqlx::query!("DELETE FROM registrations WHERE created_at < $1", time)
                    .execute(&mut *connection)
                    .await?;
            let recovery_requests =
                sqlx::query!("DELETE FROM recovery_requests WHERE created_at < $1", time)
                    .execute(&mut *connection)
                    .await?;
            let sessions = revoke::all_sessions(connection, Some(time), &origin).await?;
            let links = sqlx::query!("DELETE FROM email_tokens WHERE created_at < $1", time)
                .execute(&mut *connection)
                .await?;
            Ok(Revoked {
                sessions,
                links: links.rows_affected() + invitations.rows_affected(),
                registrations: registrations.rows_affected(),
                recovery_requests: recovery_requests.rows_affected(),
            })
        })
    })
    .await
}
