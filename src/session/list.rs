//! Who is signed in where: live rows of `sessions`, without digest and state.

use sqlx::PgPool;
use time::OffsetDateTime;

use crate::id::{SessionId, UserId};

/// A live session as lists show it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Public id.
    pub id: SessionId,
    /// Whose; `None` before sign-in.
    pub user_id: Option<UserId>,
    /// Their address.
    pub email: Option<String>,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// Last recorded activity, up to a minute behind.
    pub last_seen_at: OffsetDateTime,
    /// When it ends if nothing happens.
    pub expires_at: OffsetDateTime,
    /// The cookie outlives the browser.
    pub remembered: bool,
    /// Address of the sign-in.
    pub ip_address: Option<String>,
    /// Browser of the sign-in.
    pub user_agent: Option<String>,
    /// The database's clock when it was asked.
    pub now: OffsetDateTime,
}

/// The live sessions of `user`, last seen first; at most a thousand.
pub async fn for_user(pool: &PgPool, user: UserId) -> sqlx::Result<Vec<Entry>> {
    live(pool, Some(user), 1000).await
}

/// Live sessions, last seen first: everybody's, or those of `user`.
pub async fn live(pool: &PgPool, user: Option<UserId>, limit: i64) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"
        SELECT s.id AS "id: SessionId",
               s.user_id AS "user_id: UserId",
               u.email AS "email?",
               s.created_at,
               s.last_seen_at,
               s.expires_at,
               s.remembered,
               host(s.ip_address) AS ip_address,
               s.user_agent,
               now() AS "now!"
          FROM sessions s
          LEFT JOIN users u ON u.id = s.user_id
         WHERE s.expires_at > now()
           AND u.disabled_at IS NULL
           AND ($1::uuid IS NULL OR s.user_id = $1)
         ORDER BY s.last_seen_at DESC, s.id
         LIMIT $2
        "#,
        user as Option<UserId>,
        limit,
    )
    .fetch_all(pool)
    .await
}

/// How many live sessions `user` has.
pub async fn count_for_user(pool: &PgPool, user: UserId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM sessions WHERE user_id = $1 AND expires_at > now()"#,
        user as UserId,
    )
    .fetch_one(pool)
    .await
}
