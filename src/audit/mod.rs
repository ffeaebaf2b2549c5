//! The trail: rows of `audit_events`, which only this file writes, in the caller's transaction, so that
//! what is recorded happened and what happened is recorded. Must never hold a secret, an email
//! address, or anything else that somebody typed.

use std::net::IpAddr;
use std::time::Duration;

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

    /// The program by itself.
    pub fn system() -> Self {
        Self { actor: Actor::System, ..Self::default() }
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
    let users: Vec<Uuid> = lapses.iter().map(|lapse| lapse.user.uuid()).collect();
    let sessions: Vec<Uuid> = lapses.iter().map(|lapse| lapse.session.uuid()).collect();
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
        &users,
        &sessions,
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

/// An event as it is read back.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Grows with time.
    pub id: i64,
    /// When.
    pub occurred_at: OffsetDateTime,
    /// What.
    pub event: String,
    /// Whom it concerns.
    pub user_id: Option<Uuid>,
    /// Their address, while there is an account.
    pub email: Option<String>,
    /// Which session it concerns.
    pub session_id: Option<Uuid>,
    /// `user`, `operator` or `system`.
    pub actor: String,
    /// From where.
    pub ip_address: Option<String>,
    /// With what.
    pub user_agent: Option<String>,
    /// The id in the log lines of the request.
    pub request_id: Option<Uuid>,
    /// What else is known.
    pub details: Value,
    /// The database's clock when it was asked.
    pub now: OffsetDateTime,
}

/// Events about `user`, newest first; with `before`, those that come after that one of theirs in this order.
pub async fn list_for_user(
    pool: &PgPool,
    user: UserId,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"
        SELECT id,
               occurred_at,
               event,
               user_id,
               NULL::text AS email,
               session_id,
               actor,
               host(ip_address) AS ip_address,
               user_agent,
               request_id,
               details,
               now() AS "now!"
          FROM audit_events
         WHERE user_id = $1
           AND ($2::bigint IS NULL
                OR (occurred_at, id) < (SELECT occurred_at, id FROM audit_events WHERE id = $2 AND user_id = $1))
         ORDER BY occurred_at DESC, id DESC
         LIMIT $3
        "#,
        user.uuid(),
        before,
        limit,
    )
    .fetch_all(pool)
    .await
}

/// What [`list`] shall show.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only about this person.
    pub user: Option<UserId>,
    /// Only of this name.
    pub event: Option<String>,
    /// Only what happened in the last so many seconds.
    pub seconds: Option<f64>,
}

/// Events, newest first: for operators.
pub async fn list(pool: &PgPool, filter: &Filter, limit: i64) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"
        SELECT e.id,
               e.occurred_at,
               e.event,
               e.user_id,
               u.email AS "email?",
               e.session_id,
               e.actor,
               host(e.ip_address) AS ip_address,
               e.user_agent,
               e.request_id,
               e.details,
               now() AS "now!"
          FROM audit_events e
          LEFT JOIN users u ON u.id = e.user_id
         WHERE ($1::uuid IS NULL OR e.user_id = $1)
           AND ($2::text IS NULL OR e.event = $2)
           AND ($3::float8 IS NULL OR e.occurred_at > now() - make_interval(secs => $3))
         ORDER BY e.occurred_at DESC, e.id DESC
         LIMIT $4
        "#,
        filter.user.map(UserId::uuid),
        filter.event,
        filter.seconds,
        limit,
    )
    .fetch_all(pool)
    .await
}

/// Takes address, browser and session from the events of a person whose account is gone, in the transaction that
/// deletes it.
pub async fn anonymize(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    sqlx::query_scalar!("SELECT audit_events_anonymize($1)", user.uuid())
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// Forgets at most so many events that are older than `keep`; never any of the last week.
pub async fn forget(
    connection: &mut PgConnection,
    keep: Duration,
    at_most: i64,
) -> sqlx::Result<u64> {
    let gone = sqlx::query_scalar!(
        r#"SELECT audit_events_forget(make_interval(secs => $1), $2) AS "gone!""#,
        keep.as_secs_f64(),
        i32::try_from(at_most).unwrap_or(i32::MAX),
    )
    .fetch_one(connection)
    .await?;
    Ok(gone.unsigned_abs())
}
