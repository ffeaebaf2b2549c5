//! Appends audit events in the caller's transaction: an event is recorded if and only if what it describes is
//! committed.

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::origin::{Actor, Origin};
use crate::id::{SessionId, UserId};

/// Something worth remembering.
#[derive(Debug)]
pub struct Event<'a> {
    /// What, in snake case and past tense: `signed_in`, `session_ended`.
    pub name: &'static str,
    /// Whom it concerns.
    pub user: Option<UserId>,
    /// Which session it concerns.
    pub session: Option<SessionId>,
    /// Where it comes from.
    pub origin: &'a Origin,
    /// What else is worth knowing: an object; no secret, nothing that somebody typed.
    pub details: Value,
}

/// Appends `event` in the caller's transaction.
pub async fn record(connection: &mut PgConnection, event: Event<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO audit_events
               (event, user_id, session_id, actor, ip_address, user_agent, request_id, details)
        VALUES ($1, $2, $3, $4, CAST($5::text AS inet), $6, $7, $8)
        "#,
        event.name,
        event.user as Option<UserId>,
        event.session as Option<SessionId>,
        event.origin.actor.as_str(),
        event.origin.ip_address.map(|address| address.to_string()),
        event.origin.user_agent,
        event.origin.request_id,
        event.details,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Appends the same event for many people, each with its details, in the caller's transaction.
pub async fn record_many(
    connection: &mut PgConnection,
    name: &'static str,
    people: &[(UserId, Value)],
    origin: &Origin,
) -> sqlx::Result<()> {
    let (ids, details): (Vec<UserId>, Vec<&Value>) =
        people.iter().map(|(user, details)| (*user, details)).unzip();
    sqlx::query!(
        r#"
        INSERT INTO audit_events
               (event, user_id, actor, ip_address, user_agent, request_id, details)
        SELECT $1, user_id, $2, CAST($3::text AS inet), $4, $5, details
          FROM unnest($6::uuid[], $7::jsonb[]) AS person (user_id, details)
        "#,
        name,
        origin.actor.as_str(),
        origin.ip_address.map(|address| address.to_string()),
        origin.user_agent,
        origin.request_id,
        &ids as &[UserId],
        &details as &[&Value],
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Something that happened by itself to a session, before anybody looked.
#[derive(Debug)]
pub struct Expiry {
    /// Whose session.
    pub user: UserId,
    /// Which.
    pub session: SessionId,
    /// When it happened.
    pub at: OffsetDateTime,
}

/// Appends the same event for many sessions, each at its own time, in the caller's transaction.
pub async fn record_expired(
    connection: &mut PgConnection,
    name: &'static str,
    lapses: &[Expiry],
    details: Value,
) -> sqlx::Result<()> {
    let users: Vec<UserId> = lapses.iter().map(|lapse| lapse.user).collect();
    let sessions: Vec<SessionId> = lapses.iter().map(|lapse| lapse.session).collect();
    let times: Vec<OffsetDateTime> = lapses.iter().map(|lapse| lapse.at).collect();
    sqlx::query!(
        r#"
        INSERT INTO audit_events
               (occurred_at, event, user_id, session_id, actor, details)
        SELECT at, $1, user_id, session_id, $2, $3
          FROM unnest($4::timestamptz[], $5::uuid[], $6::uuid[]) AS lapse (at, user_id, session_id)
        "#,
        name,
        Actor::System.as_str(),
        details,
        &times,
        &users as &[UserId],
        &sessions as &[SessionId],
    )
    .execute(connection)
    .await?;
    Ok(())
}
