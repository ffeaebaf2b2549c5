//! Revokes sessions in the caller's transaction: deletes their rows and records an audit event for each.
//! There is no "revoked" flag: a session exists if and only if its row exists.

use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::requester::{self, Requester};
use crate::audit::{self, Event, EventKind, Origin, SessionEvent, stored_as_text};
use crate::crypto::secret::{Digest, Secret};
use crate::db;
use crate::id::{SessionId, UserId};

stored_as_text! {
    /// Why a session ended (`details.cause` in the audit log).
    Cause {
        /// The user signed out in that browser.
        SignedOut => "signed_out",
        /// The user or an operator revoked it from a list of sessions.
        Revoked => "revoked",
        /// The password was changed in another session.
        PasswordChanged => "password_changed",
        /// The password was set with a link or by an operator.
        PasswordReset => "password_reset",
        /// The email of the account was changed.
        EmailChanged => "email_changed",
        /// An email change was undone.
        EmailChangeUndone => "email_change_undone",
        /// The role of the user was changed.
        RoleChanged => "role_changed",
        /// The user requested the deletion of the account.
        DeletionRequested => "deletion_requested",
        /// The account was deleted.
        Deleted => "deleted",
        /// The account was disabled.
        Disabled => "disabled",
        /// The same browser signed in again.
        Replaced => "replaced",
        /// The idle timeout or the absolute timeout passed.
        Expired => "expired",
    }
}

/// A session that was just revoked.
#[derive(Debug)]
pub struct EndedSession {
    /// The session.
    pub id: SessionId,
    /// Its user; `None` before sign-in.
    pub user_id: Option<UserId>,
    /// The `User-Agent` header with which it was created.
    pub user_agent: Option<String>,
}

/// Revokes one session of the requester's user. `None` if no session has that id, or if it is another user's.
/// For [`Requester::transaction`].
#[tracing::instrument(level = "debug", skip_all, fields(user = %requester.user, %session))]
pub async fn own_session(
    connection: &mut PgConnection,
    requester: &Requester,
    session: SessionId,
    cause: Cause,
) -> sqlx::Result<Option<EndedSession>> {
    let ended = sqlx::query_as!(
        EndedSession,
        r#"
        DELETE FROM sessions
         WHERE id = $1
           AND user_id = $2
        RETURNING id AS "id: SessionId", user_id AS "user_id: UserId", user_agent
        "#,
        session as SessionId,
        requester.user as UserId,
    )
    .fetch_all(&mut *connection)
    .await?;
    record(connection, &ended, cause, &requester.origin).await?;
    Ok(ended.into_iter().next())
}

/// Which sessions of a user to revoke.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// The session of the request.
    pub current: bool,
    /// The other sessions of the user.
    pub others: bool,
}

/// Revokes the sessions of `user` that `which` selects, with `current` as the session of the request, and
/// returns how many. The caller holds the lock on the row of the user, or, if only `current` is selected, on
/// the row of that session.
#[tracing::instrument(level = "debug", skip_all, fields(%user))]
pub async fn of_user(
    connection: &mut PgConnection,
    user: UserId,
    current: Option<SessionId>,
    which: Selection,
    cause: Cause,
    origin: &Origin,
) -> sqlx::Result<usize> {
    let ended = sqlx::query_as!(
        EndedSession,
        r#"
        DELETE FROM sessions
         WHERE user_id = $1
           AND CASE WHEN id = $2 THEN $3::boolean ELSE $4::boolean END
        RETURNING id AS "id: SessionId", user_id AS "user_id: UserId", user_agent
        "#,
        user as UserId,
        current as Option<SessionId>,
        which.current,
        which.others,
    )
    .fetch_all(&mut *connection)
    .await?;
    record(connection, &ended, cause, origin).await?;
    Ok(ended.len())
}

/// Locks the row of `user`, revokes all sessions of the user, and returns how many: for operators.
pub async fn all_of_user(
    connection: &mut PgConnection,
    user: UserId,
    cause: Cause,
    origin: &Origin,
) -> sqlx::Result<usize> {
    requester::lock_user(connection, user).await?;
    let all = Selection { current: true, others: true };
    of_user(connection, user, None, all, cause, origin).await
}

/// Revokes one session of any user: for operators. `false` if no session has that id.
pub async fn any_session(
    connection: &mut PgConnection,
    session: SessionId,
    origin: &Origin,
) -> sqlx::Result<bool> {
    let ended = sqlx::query_as!(
        EndedSession,
        r#"DELETE FROM sessions WHERE id = $1 RETURNING id AS "id: SessionId", user_id AS "user_id: UserId", user_agent"#,
        session as SessionId,
    )
    .fetch_all(&mut *connection)
    .await?;
    record(connection, &ended, Cause::Revoked, origin).await?;
    Ok(!ended.is_empty())
}

/// Revokes all sessions of all users and returns how many: for operators. The audit log gets one event, with
/// the number.
pub async fn all_sessions(connection: &mut PgConnection, origin: &Origin) -> sqlx::Result<u64> {
    let ended =
        sqlx::query!("DELETE FROM sessions").execute(&mut *connection).await?.rows_affected();
    audit::record(
        connection,
        Event {
            kind: EventKind::AllSessionsEnded,
            user: None,
            session: None,
            origin,
            details: json!({ "count": ended }),
        },
    )
    .await?;
    Ok(ended)
}

/// Rotates the secret of a session. After the commit, the former cookie is not accepted. `None` if the
/// session has ended. `is_reauthentication`: the user has just re-authenticated, and `authenticated_at` is
/// set to now.
#[tracing::instrument(level = "debug", skip_all, fields(%session))]
pub async fn rotate(
    connection: &mut PgConnection,
    session: SessionId,
    is_reauthentication: bool,
) -> sqlx::Result<Option<Secret>> {
    let secret = Secret::generate();
    let digest = secret.digest();
    let rotated = sqlx::query!(
        r#"
        UPDATE sessions
           SET token_digest = $2,
               authenticated_at = CASE WHEN $3 THEN now() ELSE authenticated_at END
         WHERE id = $1
           AND expires_at > now()
        "#,
        session as SessionId,
        digest.as_bytes(),
        is_reauthentication,
    )
    .execute(connection)
    .await?;
    Ok((rotated.rows_affected() == 1).then_some(secret))
}

/// Revokes the session of a cookie in its own transaction, when actix-session deletes it.
pub(super) async fn deleted_by_middleware(pool: &PgPool, digest: Digest) -> sqlx::Result<()> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            replaced_by_sign_in(connection, &digest, &Origin::default()).await?;
            Ok(())
        })
    })
    .await
}

/// Revokes the session that a browser had before a sign-in, found by the digest of its cookie. It may belong
/// to another user. `false` if there is none. Only the current secret of a session matches: a copy of a
/// former cookie does not revoke it.
pub(super) async fn replaced_by_sign_in(
    connection: &mut PgConnection,
    former: &Digest,
    origin: &Origin,
) -> sqlx::Result<bool> {
    let ended = sqlx::query_as!(
        EndedSession,
        r#"DELETE FROM sessions WHERE token_digest = $1 RETURNING id AS "id: SessionId", user_id AS "user_id: UserId", user_agent"#,
        former.as_bytes(),
    )
    .fetch_all(&mut *connection)
    .await?;
    record(connection, &ended, Cause::Replaced, origin).await?;
    Ok(!ended.is_empty())
}

/// Records a `session_ended` audit event for each of `ended`. Sessions without a user are not recorded.
async fn record(
    connection: &mut PgConnection,
    ended: &[EndedSession],
    cause: Cause,
    origin: &Origin,
) -> sqlx::Result<()> {
    let events: Vec<SessionEvent> = ended
        .iter()
        .filter_map(|ended| {
            Some(SessionEvent { user: ended.user_id?, session: ended.id, at: None })
        })
        .collect();
    let details = json!({ "cause": cause.as_str() });
    audit::record_for_sessions(connection, EventKind::SessionEnded, &events, origin, &details).await
}
