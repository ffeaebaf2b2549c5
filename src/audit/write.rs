//! Appends audit events. In the caller's transaction, an event is recorded if and only if what it describes
//! is committed.

use serde_json::Value;
use sqlx::{PgExecutor, PgPool};
use time::OffsetDateTime;

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
        event.details,
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
    let (ids, details): (Vec<UserId>, Vec<&Value>) =
        users.iter().map(|(user, details)| (*user, details)).unzip();
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
        &details as &[&Value],
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// One session that [`record_for_sessions`] records.
#[derive(Debug)]
pub struct SessionEvent {
    /// The user of the session.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// When the event happened. `None`: in the transaction that records it.
    pub at: Option<OffsetDateTime>,
}

/// Appends one event of the same kind with the same details for each of `sessions`, in the order of the list.
pub async fn record_for_sessions(
    executor: impl PgExecutor<'_>,
    kind: EventKind,
    sessions: &[SessionEvent],
    origin: &Origin,
    details: &Value,
) -> sqlx::Result<()> {
    if sessions.is_empty() {
        return Ok(());
    }
    let times: Vec<Option<OffsetDateTime>> = sessions.iter().map(|event| event.at).collect();
    let users: Vec<UserId> = sessions.iter().map(|event| event.user).collect();
    let ids: Vec<SessionId> = sessions.iter().map(|event| event.session).collect();
    sqlx::query!(
        r#"
        INSERT INTO audit_events
               (occurred_at, event, user_id, session_id, actor, ip_address, user_agent, request_id, details)
        SELECT COALESCE(at, now()), $1, user_id, session_id, $2, CAST($3::text AS inet), $4, $5, $6
          FROM unnest($7::timestamptz[], $8::uuid[], $9::uuid[]) AS ended (at, user_id, session_id)
        "#,
        kind.as_str(),
        origin.actor.as_str(),
        origin.ip_address.map(|ip| ip.to_string()),
        origin.user_agent,
        origin.request_id,
        details,
        &times as &[Option<OffsetDateTime>],
        &users as &[UserId],
        &ids as &[SessionId],
    )
    .execute(executor)
    .await?;
    Ok(())
}
