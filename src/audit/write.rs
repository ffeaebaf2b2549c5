//! Appends audit events. In the caller's transaction, an event is recorded if and only if what it describes
//! is committed.

use serde_json::Value;
use sqlx::{PgExecutor, PgPool};

use super::event_kind::EventKind;
use super::origin::Origin;
use crate::db;
use crate::id::{SessionId, UserId};

/// An event to record.
#[derive(Debug)]
pub struct Event<'a> {
    /// What happened.
    pub kind: EventKind,
    /// The user that the event concerns.
    pub user: Option<UserId>,
    /// The session that the event concerns.
    pub session: Option<SessionId>,
    /// Who caused the event, and from where.
    pub origin: &'a Origin,
    /// An object with further details. It must not contain a secret or anything that a client typed.
    pub details: Value,
}

/// Appends `event`.
pub async fn record(executor: impl PgExecutor<'_>, event: Event<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO audit_events
               (event, user_id, session_id, actor, ip_address, user_agent, request_id, details)
        VALUES ($1, $2, $3, $4, CAST($5::text AS inet), $6, $7, $8)
        "#,
        event.kind.as_str(),
        event.user as Option<UserId>,
        event.session as Option<SessionId>,
        event.origin.actor.as_str(),
        event.origin.ip_address.map(|ip| ip.to_string()),
        event.origin.user_agent,
        event.origin.request_id,
        event.origin.with_operator(event.details),
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Appends `event` in a separate transaction, which completes even if the request is dropped: otherwise a
/// client could keep its refused attempts out of the audit log by disconnecting early.
pub async fn record_in_own_transaction(pool: &PgPool, event: Event<'_>) -> sqlx::Result<()> {
    let Event { kind, user, session, origin, details } = event;
    let origin = origin.clone();
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            record(connection, Event { kind, user, session, origin: &origin, details }).await
        })
    })
    .await
}

/// Appends one event of the same kind, with its own details, for each of `users`, in the order of the list.
pub async fn record_for_users(
    executor: impl PgExecutor<'_>,
    kind: EventKind,
    users: &[(UserId, Value)],
    origin: &Origin,
) -> sqlx::Result<()> {
    let (ids, details): (Vec<UserId>, Vec<Value>) =
        users.iter().map(|(user, details)| (*user, origin.with_operator(details.clone()))).unzip();
    sqlx::query!(
        r#"
        INSERT INTO audit_events
               (event, user_id, actor, ip_address, user_agent, request_id, details)
        SELECT $1, user_id, $2, CAST($3::text AS inet), $4, $5, details
          FROM unnest($6::uuid[], $7::jsonb[]) AS users (user_id, details)
        "#,
        kind.as_str(),
        origin.actor.as_str(),
        origin.ip_address.map(|ip| ip.to_string()),
        origin.user_agent,
        origin.request_id,
        &ids as &[UserId],
        &details as &[Value],
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// What a statement of `delete_sessions!` deleted.
#[derive(Debug)]
pub struct EndedSessions {
    /// The number of rows of live sessions.
    pub(crate) live: i64,
    /// The number of rows of sessions that had expired.
    pub(crate) expired: i64,
    /// The `User-Agent` header with which the session was created, if it is one live session.
    pub user_agent: Option<String>,
}

impl EndedSessions {
    /// The number of sessions that ended. One that had expired was no longer a session.
    pub fn count(&self) -> usize {
        usize::try_from(self.live).unwrap_or_default()
    }
}

/// Deletes sessions, appends a `session_ended` event for each that had a user, and keeps the cause for the
/// browser that had it (`ended_sessions`; expiry needs no row), in one statement: however many there are, the
/// program receives one row ([`EndedSessions`]). `$delete` is a `DELETE FROM sessions` that returns `id`,
/// `user_id`, `token_digest`, `user_agent` and `expires_at`; its parameters start at `$7`.
///
/// A session that had expired is recorded as such (`Cause::Expired`), whatever deletes its row: with the time at which
/// it expired, the actor `system`, and no origin.
macro_rules! delete_sessions {
    ($delete:tt, $cause:expr, $origin:expr, $($arguments:expr),* $(,)?) => {
        sqlx::query_as!(
            $crate::audit::EndedSessions,
            "WITH deleted AS (" + $delete + r#"),
                  ended AS MATERIALIZED (
                  SELECT id, user_id, token_digest, user_agent, LEAST(expires_at, now()) AS at, expires_at > now() AS is_live
                    FROM deleted),
                  recorded AS (
                  INSERT INTO audit_events
                         (occurred_at, event, user_id, session_id, actor, ip_address, user_agent, request_id, details)
                  SELECT at, $1, user_id, id,
                         CASE WHEN is_live THEN $2 ELSE 'system' END,
                         CASE WHEN is_live THEN CAST($3::text AS inet) END,
                         CASE WHEN is_live THEN $4 END,
                         CASE WHEN is_live THEN $5::uuid END,
                         CASE WHEN is_live THEN $6::jsonb ELSE '{"cause": "expired"}' END
                    FROM ended
                   WHERE user_id IS NOT NULL),
                  explained AS (
                  INSERT INTO ended_sessions (token_digest, cause)
                  SELECT token_digest, $6::jsonb ->> 'cause'
                    FROM ended
                   WHERE user_id IS NOT NULL
                     AND is_live
                      ON CONFLICT DO NOTHING)
             SELECT count(*) FILTER (WHERE is_live) AS "live!",
                    count(*) FILTER (WHERE NOT is_live) AS "expired!",
                    min(user_agent) FILTER (WHERE is_live) AS user_agent
               FROM ended"#,
            $crate::audit::EventKind::SessionEnded.as_str(),
            $origin.actor.as_str(),
            $origin.ip_address.map(|ip| ip.to_string()),
            $origin.user_agent,
            $origin.request_id,
            $origin.with_operator(serde_json::json!({ "cause": $cause.as_str() })),
            $($arguments),*
        )
    };
}
pub(crate) use delete_sessions;
