//! The trail: rows of `audit_events`, which only this file writes, in the caller's transaction, so that
//! what is recorded happened and what happened is recorded. Must never hold a secret, an email
//! address, or anything else that somebody typed.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::id::{SessionId, UserId};

/// Who did it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// Somebody at a page.
    #[default]
    User,
    /// Somebody at the command line.
    Operator,
    /// The program by itself.
    System,
}

impl Actor {
    fn as_str(self) -> &'static str {
        match self {
            Actor::User => "user",
            Actor::Operator => "operator",
            Actor::System => "system",
        }
    }
}

/// Where something comes from: carried from the request to the row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// Who did it.
    pub actor: Actor,
    /// The client's address.
    pub ip_address: Option<IpAddr>,
    /// What the browser calls itself, at most 512 bytes, no control characters.
    pub user_agent: Option<String>,
    /// The id in the log lines of the request.
    pub request_id: Option<Uuid>,
}

impl Origin {
    /// Somebody at the command line.
    pub fn operator() -> Self {
        Self { actor: Actor::Operator, ..Self::default() }
    }
}

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
        event.user.map(UserId::uuid),
        event.session.map(SessionId::uuid),
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
    let (ids, details): (Vec<Uuid>, Vec<&Value>) =
        people.iter().map(|(user, details)| (user.uuid(), details)).unzip();
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
        &ids,
        &details as &[&Value],
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A sign-in as the trail remembers it.
#[derive(Debug)]
pub struct SignIn {
    /// When.
    pub at: OffsetDateTime,
    /// From where.
    pub ip_address: Option<String>,
    /// With what.
    pub user_agent: Option<String>,
}

/// The newest sign-in of `user` that is not the one that began `current`.
pub async fn find_previous_sign_in(
    pool: &PgPool,
    user: UserId,
    current: SessionId,
) -> sqlx::Result<Option<SignIn>> {
    sqlx::query_as!(
        SignIn,
        r#"
        SELECT occurred_at AS at,
               host(ip_address) AS ip_address,
               user_agent
          FROM audit_events
         WHERE user_id = $1
           AND event = 'signed_in'
           AND session_id <> $2
         ORDER BY occurred_at DESC
         LIMIT 1
        "#,
        user.uuid(),
        current.uuid(),
    )
    .fetch_optional(pool)
    .await
}
