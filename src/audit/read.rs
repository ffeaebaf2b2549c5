//! Reads audit events: a user's own activity, and the list that operators see.

use serde_json::Value;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::id::{SessionId, UserId};

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
        user as UserId,
        current as SessionId,
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
    pub user_id: Option<UserId>,
    /// Their address, while there is an account.
    pub email: Option<String>,
    /// Which session it concerns.
    pub session_id: Option<SessionId>,
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
               user_id AS "user_id: UserId",
               NULL::text AS email,
               session_id AS "session_id: SessionId",
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
        user as UserId,
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
               e.user_id AS "user_id: UserId",
               u.email AS "email?",
               e.session_id AS "session_id: SessionId",
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
        filter.user as Option<UserId>,
        filter.event,
        filter.seconds,
        limit,
    )
    .fetch_all(pool)
    .await
}
