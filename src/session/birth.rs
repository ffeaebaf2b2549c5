//! How a session begins: the one statement that inserts into `sessions`, in one transaction with the look at whether the
//! account still is what it was when its password was compared, with its line in the trail, and with the mail to the owner
//! about a new device.

use serde_json::json;
use sqlx::PgPool;

use super::new_device;
use super::state::{FORMAT_VERSION, Incoming};
use super::windows::Windows;
use crate::audit::{self, Event};
use crate::db;
use crate::id::{SessionId, UserId};
use crate::seal::Sealer;
use crate::secret::Secret;

/// Why a sign-in began no session although the password was right.
#[derive(Debug, thiserror::Error)]
#[error(
    "the account was disabled, deleted or got another password, address or role while somebody signed in"
)]
struct Overtaken;

/// Begins a session; answers the secret for its cookie.
pub(super) async fn insert(
    pool: &PgPool,
    windows: &Windows,
    sealer: Option<&Sealer>,
    incoming: Incoming,
) -> anyhow::Result<Secret> {
    let secret = Secret::generate();
    let digest = secret.digest();
    let (idle, absolute) = windows.seconds(incoming.birth.remembered);
    let sealer = sealer.filter(|_| incoming.birth.on_new_device).cloned();
    db::transaction::<_, anyhow::Error, _>(pool, move |connection| {
        Box::pin(async move {
            let Incoming { user, birth, rest } = incoming;
            if let Some(user) = user {
                // Locked until the commit: a change of password that comes later sees this session
                // and ends it; one that came earlier is seen here and begins none (`pending` in
                // user/rules.rs).
                let (email, role) = birth.account_of.unzip();
                let still_good = sqlx::query_scalar!(
                    r#"
                    SELECT true AS "good!"
                      FROM users
                     WHERE id = $1
                       AND disabled_at IS NULL
                       AND ($2::timestamptz IS NULL OR password_changed_at = $2)
                       AND ($3::text IS NULL OR email = $3)
                       AND ($4::text IS NULL OR role = $4)
                       FOR SHARE
                    "#,
                    user.uuid(),
                    birth.credential_of,
                    email,
                    role,
                )
                .fetch_optional(&mut *connection)
                .await?;
                still_good.ok_or(Overtaken)?;
                if let Some(sealer) = &sealer {
                    new_device::tell(connection, sealer, user, &birth.origin).await?;
                }
            }
            let id = SessionId::generate();
            sqlx::query!(
                r#"
                INSERT INTO sessions
                       (token_digest, id, user_id, state, authenticated_at, remembered,
                        auth_methods, ip_address, user_agent, format_version,
                        idle_timeout, expires_at, absolute_expires_at)
                VALUES ($1, $2, $3, $4, CASE WHEN $3::uuid IS NULL THEN NULL ELSE now() END, $5,
                        $6, CAST($7::text AS inet), $8, $9,
                        make_interval(secs => $10),
                        now() + make_interval(secs => $10),
                        now() + make_interval(secs => $11))
                "#,
                digest.as_bytes(),
                id.uuid(),
                user.map(UserId::uuid),
                rest,
                birth.remembered,
                &birth.auth_methods,
                birth.origin.ip_address.map(|address| address.to_string()),
                birth.origin.user_agent,
                FORMAT_VERSION,
                idle,
                absolute,
            )
            .execute(&mut *connection)
            .await?;
            if user.is_some() {
                audit::record(
                    connection,
                    Event {
                        name: "signed_in",
                        user,
                        session: Some(id),
                        origin: &birth.origin,
                        details: json!({
                            "methods": birth.auth_methods,
                            "remembered": birth.remembered,
                        }),
                    },
                )
                .await?;
            }
            Ok(())
        })
    })
    .await?;
    Ok(secret)
}
