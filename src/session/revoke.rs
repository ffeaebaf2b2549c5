//! Revokes sessions in the caller's transaction: deletes their rows and records an audit event for each, in
//! one statement (`delete_sessions!`), so that the number of sessions of a user does not matter. There is no
//! "revoked" flag: a session exists if and only if its row exists.

use ipnet::IpNet;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::requester::{self, Requester};
use crate::audit::{
    self, EndedSessions, Event, EventKind, Origin, delete_sessions, stored_as_text,
};
use crate::crypto::secret::{Digest, Secret};
use crate::db;
use crate::id::{SessionId, UserId};

/// The most sessions that one sign-in ends because of the limit of sessions per user.
const ENDED_AT_SIGN_IN: i64 = 100;
/// The most rows of a user that are compared to find those seen longest ago. Of a user with more, the rows
/// that the index on `user_id` returns first are compared.
const CANDIDATES: i64 = 25_000;

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
        /// The user signed in elsewhere and had more sessions than `FRONTDESK_SESSIONS_PER_USER` allows.
        SessionLimit => "session_limit",
        /// The idle timeout or the absolute timeout passed.
        Expired => "expired",
    }
}

/// Why the session ended whose cookie had the secret of `token`. `None`: it expired, or the cause is unknown,
/// or the session is live.
pub async fn find_cause(pool: &PgPool, token: &Digest) -> sqlx::Result<Option<Cause>> {
    let cause = sqlx::query_scalar!(
        "SELECT cause FROM ended_sessions WHERE token_digest = $1",
        token.as_bytes(),
    )
    .fetch_optional(db::on(pool))
    .await?;
    Ok(cause.as_deref().and_then(Cause::parse))
}

/// Revokes one session of the requester's user. `None` if no session has that id, or if it is another user's.
/// For [`Requester::transaction`].
#[tracing::instrument(level = "debug", skip_all, fields(user = %requester.user, %session))]
pub async fn own_session(
    connection: &mut PgConnection,
    requester: &Requester,
    session: SessionId,
    cause: Cause,
) -> sqlx::Result<Option<EndedSessions>> {
    let ended = delete_sessions!(
        r#"
        DELETE FROM sessions
         WHERE id = $7
           AND user_id = $8
        RETURNING id, user_id, token_digest, user_agent, expires_at
        "#,
        cause,
        requester.origin,
        session as SessionId,
        requester.user as UserId,
    );
    let ended = ended.fetch_one(connection).await?;
    Ok((ended.count() > 0).then_some(ended))
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
    if which.others {
        db::allow_long_statement(connection).await?;
    }
    let ended = delete_sessions!(
        r#"
        DELETE FROM sessions
         WHERE user_id = $7
           AND CASE WHEN id = $8 THEN $9::boolean ELSE $10::boolean END
        RETURNING id, user_id, token_digest, user_agent, expires_at
        "#,
        cause,
        origin,
        user as UserId,
        current as Option<SessionId>,
        which.current,
        which.others,
    );
    Ok(ended.fetch_one(connection).await?.count())
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
    let ended = delete_sessions!(
        "DELETE FROM sessions WHERE id = $7 RETURNING id, user_id, token_digest, user_agent, expires_at",
        Cause::Revoked,
        origin,
        session as SessionId,
    );
    Ok(ended.fetch_one(connection).await?.count() > 0)
}

/// Selects sessions of all users, for [`by_filter`]. `None` selects all.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionFilter {
    /// Only sessions of this user.
    pub user: Option<UserId>,
    /// Only sessions whose sign-in came from this network.
    pub network: Option<IpNet>,
    /// Only sessions that were created before.
    pub created_before: Option<OffsetDateTime>,
}

/// Revokes the sessions that `which` selects, and returns how many: for operators.
pub async fn by_filter(
    connection: &mut PgConnection,
    which: SessionFilter,
    origin: &Origin,
) -> sqlx::Result<usize> {
    if let Some(user) = which.user {
        requester::lock_user(connection, user).await?;
    }
    let ended = delete_sessions!(
        r#"
        DELETE FROM sessions
         WHERE ($7::uuid IS NULL OR user_id = $7)
           AND ($8::text IS NULL OR ip_address <<= CAST($8 AS inet))
           AND ($9::timestamptz IS NULL OR created_at < $9)
        RETURNING id, user_id, token_digest, user_agent, expires_at
        "#,
        Cause::Revoked,
        origin,
        which.user as Option<UserId>,
        which.network.map(|network| network.to_string()),
        which.created_before,
    );
    Ok(ended.fetch_one(connection).await?.count())
}

/// Revokes all sessions of all users, or those created before a time, and returns how many: for operators. The
/// audit log gets one event, with the number.
pub async fn all_sessions(
    connection: &mut PgConnection,
    created_before: Option<OffsetDateTime>,
    origin: &Origin,
) -> sqlx::Result<u64> {
    let ended = sqlx::query_scalar!(
        r#"
        WITH deleted AS (
             DELETE FROM sessions WHERE $1::timestamptz IS NULL OR created_at < $1 RETURNING expires_at > now() AS is_live)
        SELECT count(*) FILTER (WHERE is_live) AS "live!"
          FROM deleted
        "#,
        created_before,
    )
    .fetch_one(&mut *connection)
    .await?
    .unsigned_abs();
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
    let ended = delete_sessions!(
        "DELETE FROM sessions WHERE token_digest = $7 RETURNING id, user_id, token_digest, user_agent, expires_at",
        Cause::Replaced,
        origin,
        former.as_bytes(),
    );
    Ok(ended.fetch_one(connection).await?.count() > 0)
}

/// Revokes live sessions of `user` beyond `limit`: those seen longest ago first, at most [`ENDED_AT_SIGN_IN`],
/// never `newest`, which the caller has just inserted. Returns how many. A session that another transaction
/// has locked is skipped and stays until the next sign-in.
///
/// The order is exact for users with up to [`CANDIDATES`] rows. There is no index on `last_seen_at`, because
/// it would make every last-seen update write to all indexes.
pub(super) async fn beyond_limit(
    connection: &mut PgConnection,
    user: UserId,
    limit: i64,
    newest: SessionId,
    origin: &Origin,
) -> sqlx::Result<usize> {
    let ended = delete_sessions!(
        r#"
        WITH live AS MATERIALIZED (
             SELECT token_digest, last_seen_at
               FROM (SELECT id, token_digest, last_seen_at, expires_at
                       FROM sessions
                      WHERE user_id = $7
                      LIMIT $8) AS candidates
              WHERE id <> $9
                AND expires_at > now()),
             excess AS MATERIALIZED (
             SELECT token_digest
               FROM live
              ORDER BY last_seen_at, token_digest
              LIMIT LEAST($10, GREATEST(0, (SELECT count(*) FROM live) + 1 - $11)))
        DELETE FROM sessions
         WHERE token_digest IN (
               SELECT token_digest
                 FROM sessions
                WHERE token_digest = ANY(ARRAY(SELECT token_digest FROM excess))
                  FOR UPDATE SKIP LOCKED)
        RETURNING id, user_id, token_digest, user_agent, expires_at
        "#,
        Cause::SessionLimit,
        origin,
        user as UserId,
        CANDIDATES,
        newest as SessionId,
        ENDED_AT_SIGN_IN,
        limit,
    );
    Ok(ended.fetch_one(connection).await?.count())
}
