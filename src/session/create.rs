//! Creates sessions: the only statement that inserts into `sessions`. In the same transaction, it checks that
//! the account was not changed since its password was verified, records the audit event, enqueues the mail
//! about a new device, and revokes the session that is replaced.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::state::{FORMAT_VERSION, NewSession, SessionToInsert};
use super::timeouts::{self, Timeouts};
use super::{new_device, revoke};
use crate::audit::{self, Event, EventKind};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::{Digest, Secret};
use crate::id::{SessionId, UserId};
use crate::role::Role;

/// A session that was inserted.
pub(super) struct InsertedSession {
    /// The secret for its cookie.
    pub(super) secret: Secret,
    /// Whether it replaced the browser's former session.
    pub(super) has_replaced: bool,
}

/// Inserts a session in the caller's transaction, and revokes the browser's former session, whose cookie has
/// the digest `former`. `None`: the account was changed since its password was verified, and nothing was
/// written.
pub(super) async fn insert(
    connection: &mut PgConnection,
    timeouts: &Timeouts,
    sealer: Option<&Sealer>,
    session: SessionToInsert,
    former: Option<&Digest>,
) -> sqlx::Result<Option<InsertedSession>> {
    let SessionToInsert { user, new_session, state } = session;
    if let Some(user) = user {
        if !is_account_unchanged(connection, user, &new_session).await? {
            return Ok(None);
        }
        if let Some(sealer) = sealer.filter(|_| new_session.on_new_device) {
            new_device::notify(connection, sealer, user, &new_session.origin).await?;
        }
    }
    let has_replaced = match former {
        Some(former) => {
            revoke::replaced_by_sign_in(connection, former, &new_session.origin).await?
        }
        None => false,
    };
    let (secret, id) = (Secret::generate(), SessionId::generate());
    insert_row(connection, timeouts, &secret.digest(), id, user, &new_session, state).await?;
    if user.is_some() {
        audit::record(
            connection,
            Event {
                kind: EventKind::SignedIn,
                user,
                session: Some(id),
                origin: &new_session.origin,
                details: json!({ "methods": new_session.auth_methods, "remembered": new_session.remembered }),
            },
        )
        .await?;
    }
    Ok(Some(InsertedSession { secret, has_replaced }))
}

async fn insert_row(
    connection: &mut PgConnection,
    timeouts: &Timeouts,
    digest: &Digest,
    id: SessionId,
    user: Option<UserId>,
    new_session: &NewSession,
    state: Value,
) -> sqlx::Result<()> {
    let (idle, absolute) = timeouts::seconds(timeouts, new_session.remembered);
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
        id as SessionId,
        user as Option<UserId>,
        state,
        new_session.remembered,
        &new_session.auth_methods,
        new_session.origin.ip_address.map(|ip| ip.to_string()),
        new_session.origin.user_agent,
        FORMAT_VERSION,
        idle,
        absolute,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether the account was not changed since its password was verified. The row of the user stays locked
/// until the commit: a later password change finds the session and revokes it; an earlier one is found here,
/// and no session is inserted (`SignInInProgress` in user/session_rules.rs). Without `verified_account`, only
/// the date of the password is compared, and only if `new_session` has one. With it, email, role and date
/// must all be equal, and no date equals only no date.
async fn is_account_unchanged(
    connection: &mut PgConnection,
    user: UserId,
    new_session: &NewSession,
) -> sqlx::Result<bool> {
    let (email, role) = new_session.verified_account.clone().unzip();
    let found = sqlx::query_scalar!(
        r#"
        SELECT true AS "found!"
          FROM users
         WHERE id = $1
           AND disabled_at IS NULL
           AND CASE WHEN $3::text IS NULL THEN $2::timestamptz IS NULL OR password_changed_at = $2
                    ELSE password_changed_at IS NOT DISTINCT FROM $2 AND email = $3 AND role = $4
               END
           FOR SHARE
        "#,
        user as UserId,
        new_session.password_changed_at,
        email,
        role as Option<Role>,
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}
