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

/// What a statement of `delete_sessions!` ended.
#[derive(Debug)]
pub struct EndedSessions {
    /// The number of deleted rows.
    pub(crate) count: i64,
    /// The `User-Agent` header with which the session was created, if it is one session.
    pub user_agent: Option<String>,
}

impl EndedSessions {
    /// The number of sessions.
    pub fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or_default()
    }
}

/// Deletes sessions and appends a `session_ended` event for each that had a user, in one statement: however
/// many there are, the program receives one row ([`EndedSessions`]). `$delete` is a `DELETE FROM sessions` that
/// returns `id`, `user_id`, `user_agent` and the time of the event as `at`; its parameters start at `$7`.
macro_rules! delete_sessions {
    ($delete:tt, $cause:expr, $origin:expr, $($arguments:expr),* $(,)?) => {
        sqlx::query_as!(
            $crate::audit::EndedSessions,
            "WITH ended AS (" + $delete + r#"),
                  recorded AS (
                  INSERT INTO audit_events
                         (occurred_at, event, user_id, session_id, actor, ip_address, user_agent, request_id, details)
                  SELECT at, $1, user_id, id, $2, CAST($3::text AS inet), $4, $5, $6
                    FROM ended
                   WHERE user_id IS NOT NULL)
             SELECT count(*) AS "count!", min(user_agent) AS user_agent FROM ended"#,
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
