//! Ending sessions, each with its line in the trail, in the caller's transaction. A session that was
//! ended here is gone: there is no mark that could be missed.

use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::requester::{self, Requester};
use crate::audit::{self, Event, EventKind, Origin, SessionEvent};
use crate::crypto::secret::{Digest, Secret};
use crate::db;
use crate::id::{SessionId, UserId};

/// Why a session ended, as `audit_events.details` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The person signed out in that browser.
    SignedOut,
    /// Somebody ended it from a list of sessions.
    Revoked,
    /// The password was changed elsewhere.
    PasswordChanged,
    /// The password was set by a link or by an operator.
    PasswordReset,
    /// Another address became that of the account.
    EmailChanged,
    /// The former address is that of the account again.
    EmailChangeUndone,
    /// The account may do more, or less.
    RoleChanged,
    /// The person asked for the account to be deleted.
    DeletionRequested,
    /// The account is gone.
    Deleted,
    /// The account was disabled.
    Disabled,
    /// The same browser signed in anew.
    Replaced,
    /// Nobody used it for its idle timeout, or its absolute timeout was over.
    Expired,
}

impl Cause {
    /// Every one there is.
    pub const ALL: [Cause; 12] = [
        Cause::SignedOut,
        Cause::Revoked,
        Cause::PasswordChanged,
        Cause::PasswordReset,
        Cause::EmailChanged,
        Cause::EmailChangeUndone,
        Cause::RoleChanged,
        Cause::DeletionRequested,
        Cause::Deleted,
        Cause::Disabled,
        Cause::Replaced,
        Cause::Expired,
    ];

    /// As the trail spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::SignedOut => "signed_out",
            Cause::Revoked => "revoked",
            Cause::PasswordChanged => "password_changed",
            Cause::PasswordReset => "password_reset",
            Cause::EmailChanged => "email_changed",
            Cause::EmailChangeUndone => "email_change_undone",
            Cause::RoleChanged => "role_changed",
            Cause::DeletionRequested => "deletion_requested",
            Cause::Deleted => "deleted",
            Cause::Disabled => "disabled",
            Cause::Replaced => "replaced",
            Cause::Expired => "expired",
        }
    }
}

/// A session that was just ended.
#[derive(Debug)]
pub struct Ended {
    /// Which.
    pub id: SessionId,
    /// Whose.
    pub user_id: Option<UserId>,
    /// With what it was begun.
    pub user_agent: Option<String>,
}

/// Ends one session of `requester`'s user; `None` if there is none with that id, or it is another user's. For
/// [`Requester::transaction`].
pub async fn one(
    connection: &mut PgConnection,
    requester: &Requester,
    session: SessionId,
    cause: Cause,
) -> sqlx::Result<Option<Ended>> {
    let ended = sqlx::query_as!(
        Ended,
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

/// Which sessions of a person shall end.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// The one that asks.
    pub current: bool,
    /// The rest of those that go with the browser.
    pub others: bool,
    /// The rest of those that are remembered.
    pub remembered: bool,
}

/// Ends the sessions of `user` that `which` selects, seen from `current`, and returns how many. The caller holds the lock on
/// the row of the user, or, if only `current` ends, on the row of that session.
pub async fn selected(
    connection: &mut PgConnection,
    user: UserId,
    current: Option<SessionId>,
    which: Selection,
    cause: Cause,
    origin: &Origin,
) -> sqlx::Result<usize> {
    let ended = sqlx::query_as!(
        Ended,
        r#"
        DELETE FROM sessions
         WHERE user_id = $1
           AND CASE WHEN id = $2 THEN $3::boolean
                    WHEN remembered THEN $4
                    ELSE $5
               END
        RETURNING id AS "id: SessionId", user_id AS "user_id: UserId", user_agent
        "#,
        user as UserId,
        current as Option<SessionId>,
        which.current,
        which.remembered,
        which.others,
    )
    .fetch_all(&mut *connection)
    .await?;
    record(connection, &ended, cause, origin).await?;
    Ok(ended.len())
}

/// Ends every session of `user` but `keep`: for operators. Answers how many.
pub async fn others(
    connection: &mut PgConnection,
    user: UserId,
    keep: Option<SessionId>,
    cause: Cause,
    origin: &Origin,
) -> sqlx::Result<usize> {
    requester::lock_user(connection, user).await?;
    let ended = sqlx::query_as!(
        Ended,
        r#"
        DELETE FROM sessions
         WHERE user_id = $1
           AND id IS DISTINCT FROM $2
        RETURNING id AS "id: SessionId", user_id AS "user_id: UserId", user_agent
        "#,
        user as UserId,
        keep as Option<SessionId>,
    )
    .fetch_all(&mut *connection)
    .await?;
    record(connection, &ended, cause, origin).await?;
    Ok(ended.len())
}

/// Ends one session, whosever it is: for operators.
pub async fn any(
    connection: &mut PgConnection,
    session: SessionId,
    origin: &Origin,
) -> sqlx::Result<bool> {
    let ended = sqlx::query_as!(
        Ended,
        r#"DELETE FROM sessions WHERE id = $1 RETURNING id AS "id: SessionId", user_id AS "user_id: UserId", user_agent"#,
        session as SessionId,
    )
    .fetch_all(&mut *connection)
    .await?;
    record(connection, &ended, Cause::Revoked, origin).await?;
    Ok(!ended.is_empty())
}

/// Ends every session there is: for operators. Answers how many.
pub async fn everybody(connection: &mut PgConnection, origin: &Origin) -> sqlx::Result<u64> {
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

/// Gives a session a new secret; the old cookie is dead at the commit. `is_proof`: the person said who they are, so it
/// counts as a fresh proof. `None` when the session is gone.
pub async fn rotate(
    connection: &mut PgConnection,
    session: SessionId,
    is_proof: bool,
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
        is_proof,
    )
    .execute(connection)
    .await?;
    Ok((rotated.rows_affected() == 1).then_some(secret))
}

/// The session of a cookie makes room for a new one.
pub(super) async fn replaced(pool: &PgPool, digest: Digest) -> sqlx::Result<()> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let ended = sqlx::query_as!(
                Ended,
                r#"DELETE FROM sessions WHERE token_digest = $1 RETURNING id AS "id: SessionId", user_id AS "user_id: UserId", user_agent"#,
                digest.as_bytes(),
            )
            .fetch_all(&mut *connection)
            .await?;
            record(connection, &ended, Cause::Replaced, &Origin::default()).await
        })
    })
    .await
}

/// Ends the session of the cookie that a browser had before a sign-in, of whichever user; `false` if there is none. A copy
/// of a former cookie of a session does not end it.
pub(super) async fn replaced_by_sign_in(
    connection: &mut PgConnection,
    former: &Digest,
    origin: &Origin,
) -> sqlx::Result<bool> {
    let ended = sqlx::query_as!(
        Ended,
        r#"DELETE FROM sessions WHERE token_digest = $1 RETURNING id AS "id: SessionId", user_id AS "user_id: UserId", user_agent"#,
        former.as_bytes(),
    )
    .fetch_all(&mut *connection)
    .await?;
    record(connection, &ended, Cause::Replaced, origin).await?;
    Ok(!ended.is_empty())
}

/// Records the end of `ended` in the audit log. Sessions without a user are not recorded.
async fn record(
    connection: &mut PgConnection,
    ended: &[Ended],
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
