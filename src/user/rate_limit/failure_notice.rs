//! Notifies the owner of an account by mail when a wait after wrong passwords begins (ASVS 5.0 V6.3.5). The limit
//! of the mail (`mail/rules.rs`) allows one a day.

use sqlx::PgPool;

use crate::audit::Origin;
use crate::crypto::seal::Sealer;
use crate::db;
use crate::mail::{Message, outbox};
use crate::session::notice;
use crate::user::users::User;

/// Enqueues the mail in the background: a response that waited for it would reveal by its time that the email
/// has an account (user enumeration). If the server stops before that, the next wait sends the mail.
pub(super) fn send_in_background(
    pool: &PgPool,
    sealer: &Sealer,
    user: User,
    origin: &Origin,
    in_session: bool,
) {
    let (pool, sealer, origin) = (pool.clone(), sealer.clone(), origin.clone());
    tokio::spawn(async move {
        if let Err(error) = send(&pool, sealer, user, origin, in_session).await {
            db::log_failure("a notice of failed sign-ins is not sent", &error.into());
        }
    });
}

async fn send(
    pool: &PgPool,
    sealer: Sealer,
    user: User,
    origin: Origin,
    in_session: bool,
) -> sqlx::Result<()> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let source = notice::source_now(connection, &origin).await?;
            let message =
                Message::FailedSignIns { display_name: user.display_name, in_session, source };
            outbox::enqueue(connection, &sealer, Some(user.id), &user.email, &message).await?;
            Ok(())
        })
    })
    .await
}
