//! Reads audit events: those of one user, for the activity page, and those of all users, for operators.

use serde_json::Value;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::event_kind::EventKind;
use crate::db;
use crate::id::{SessionId, UserId};

/// A sign-in from the audit log.
#[derive(Debug)]
pub struct SignIn {
    /// When the user signed in.
    pub at: OffsetDateTime,
    /// The client's IP address.
    pub ip_address: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
}

/// Returns the newest sign-in of `user` other than the one that created the session `current`.
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
           AND event = $3
           AND session_id <> $2
         ORDER BY occurred_at DESC
         LIMIT 1
        "#,
        user as UserId,
        current as SessionId,
        EventKind::SignedIn.as_str(),
    )
    .fetch_optional(db::on(pool))
    .await
}

/// An event that was read from the audit log.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The sequence number: events are numbered in the order in which they were written.
    pub id: i64,
    /// The start of the transaction that recorded the event; for an expired session, when it expired.
    pub occurred_at: OffsetDateTime,
    /// The text of an [`EventKind`](super::EventKind), or a name that this version does not know.
    pub event: String,
    /// The user that the event concerns.
    pub user_id: Option<UserId>,
    /// The email of the user, as long as the account exists. [`list_for_user`] does not read it.
    pub email: Option<String>,
    /// The session that the event concerns.
    pub session_id: Option<SessionId>,
    /// Who caused it: the text of an [`Actor`](super::Actor), or `database`: another client of the database.
    pub actor: String,
    /// The client's IP address.
    pub ip_address: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// If a session ended: the `User-Agent` header of its sign-in. Only [`list_for_user`] reads it.
    pub ended_user_agent: Option<String>,
    /// The id of the request, also in its log lines.
    pub request_id: Option<Uuid>,
    /// An object with further details, by kind of event.
    pub details: Value,
    /// The database's time of the query.
    pub now: OffsetDateTime,
}

/// Lists events about `user`, newest first. `before` is the id of the last event of the previous page; the
/// list then starts with the next older event.
pub async fn list_for_user(
    pool: &PgPool,
    user: UserId,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<StoredEvent>> {
    sqlx::query_as!(
        StoredEvent,
        r#"
        SELECT e.id,
               e.occurred_at,
               e.event,
               e.user_id AS "user_id: UserId",
               NULL::text AS email,
               e.session_id AS "session_id: SessionId",
               e.actor,
               host(e.ip_address) AS ip_address,
               e.user_agent,
               CASE WHEN e.event = 'session_ended' THEN (
                    SELECT s.user_agent
                      FROM audit_events s
                     WHERE s.session_id = e.session_id
                       AND s.event = 'signed_in'
                     LIMIT 1) END AS ended_user_agent,
               e.request_id,
               e.details,
               now() AS "now!"
          FROM audit_events e
         WHERE e.user_id = $1
           AND ($2::bigint IS NULL
                OR (e.occurred_at, e.id) < (SELECT occurred_at, id FROM audit_events WHERE id = $2 AND user_id = $1))
         ORDER BY e.occurred_at DESC, e.id DESC
         LIMIT $3
        "#,
        user as UserId,
        before,
        limit,
    )
    .fetch_all(db::on(pool))
    .await
}

/// Selects the events of [`list`]. `None` selects all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only events about this user.
    pub user: Option<UserId>,
    /// Only events with this name.
    pub event: Option<String>,
    /// Only events of the last `seconds`.
    pub seconds: Option<f64>,
}

/// Lists the events of all users, newest first: for operators. `after` is the time and the id of the last event
/// of the previous page.
pub async fn list(
    pool: &PgPool,
    filter: &Filter,
    after: Option<(OffsetDateTime, i64)>,
    limit: i64,
) -> sqlx::Result<Vec<StoredEvent>> {
    let (at, id) = after.unzip();
    sqlx::query_as!(
        StoredEvent,
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
               NULL::text AS ended_user_agent,
               e.request_id,
               e.details,
               now() AS "now!"
          FROM audit_events e
          LEFT JOIN users u ON u.id = e.user_id
         WHERE ($1::uuid IS NULL OR e.user_id = $1)
           AND ($2::text IS NULL OR e.event = $2)
           AND ($3::float8 IS NULL OR e.occurred_at > now() - make_interval(secs => $3))
           AND (e.occurred_at, e.id) < (COALESCE($4::timestamptz, 'infinity'), COALESCE($5::bigint, 0))
         ORDER BY e.occurred_at DESC, e.id DESC
         LIMIT $6
        "#,
        filter.user as Option<UserId>,
        filter.event,
        filter.seconds,
        at,
        id,
        limit,
    )
    .fetch_all(db::on(pool))
    .await
}

/// When `user` last signed in; `None` if never, or before the retention of the audit log.
pub async fn last_sign_in(pool: &PgPool, user: UserId) -> sqlx::Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!(
        r#"
        SELECT occurred_at
          FROM audit_events
         WHERE user_id = $1
           AND event = $2
         ORDER BY occurred_at DESC
         LIMIT 1
        "#,
        user as UserId,
        EventKind::SignedIn.as_str(),
    )
    .fetch_optional(db::on(pool))
    .await
}
