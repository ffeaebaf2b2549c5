//! Lists of live sessions: rows of `sessions` without digest and state.

use sqlx::PgPool;
use time::OffsetDateTime;

use crate::crypto::secret::Digest;
use crate::db;
use crate::id::{SessionId, UserId};

/// A live session in a list.
#[derive(Debug, Clone)]
pub struct LiveSession {
    /// The public id.
    pub id: SessionId,
    /// Its user; `None` before sign-in.
    pub user_id: Option<UserId>,
    /// The email of the user.
    pub email: Option<String>,
    /// When the session was created.
    pub created_at: OffsetDateTime,
    /// The last recorded activity, up to a minute behind.
    pub last_seen_at: OffsetDateTime,
    /// When the session expires unless it is used again.
    pub expires_at: OffsetDateTime,
    /// The cookie is kept when the browser is closed ("Keep me signed in").
    pub remembered: bool,
    /// The IP address of the sign-in.
    pub ip_address: Option<String>,
    /// The IP address of the last recorded activity; `None` if it is not known.
    pub last_seen_ip_address: Option<String>,
    /// The `User-Agent` header of the sign-in.
    pub user_agent: Option<String>,
    /// The database's time of the query.
    pub now: OffsetDateTime,
}

/// Selects live sessions as [`LiveSession`], so that their columns are listed once. One statement for one user
/// and one for all users: a plan that serves both would read the whole table.
macro_rules! select_live {
    ($condition:tt, $($arguments:tt)*) => {
        sqlx::query_as!(
            LiveSession,
            r#"
            SELECT s.id AS "id: SessionId",
                   s.user_id AS "user_id: UserId",
                   u.email AS "email?",
                   s.created_at,
                   s.last_seen_at,
                   s.expires_at,
                   s.remembered,
                   host(s.ip_address) AS ip_address,
                   host(s.last_seen_ip_address) AS last_seen_ip_address,
                   s.user_agent,
                   now() AS "now!"
              FROM sessions s
              LEFT JOIN users u ON u.id = s.user_id
             WHERE s.expires_at > now()
               AND u.disabled_at IS NULL
            "# + $condition,
            $($arguments)*
        )
    };
}

/// Where a page of [`page_for_user`] ends: when its last session was created, and its id. Neither changes while
/// the session exists, unlike the time when it was last seen.
pub type Position = (OffsetDateTime, SessionId);

/// Lists up to `limit` live sessions of `user`, newest sign-in first, after `after`. The first page begins with
/// the session `current`, which no later page contains.
pub async fn page_for_user(
    pool: &PgPool,
    user: UserId,
    current: SessionId,
    after: Option<Position>,
    limit: i64,
) -> sqlx::Result<Vec<LiveSession>> {
    let (created, id) = after.unzip();
    select_live!(
        " AND s.user_id = $1
          AND ($3::timestamptz IS NULL OR s.id <> $2 AND (s.created_at, s.id) < ($3, $4::uuid))
        ORDER BY s.id = $2 DESC, s.created_at DESC, s.id DESC
        LIMIT $5",
        user as UserId,
        current as SessionId,
        created,
        id as Option<SessionId>,
        limit,
    )
    .fetch_all(db::on(pool))
    .await
}

/// Lists live sessions, last seen first: those of `user`, or of all users, which reads the whole table and is
/// for operators. `after` is the last session of the previous page.
pub async fn live(
    pool: &PgPool,
    user: Option<UserId>,
    after: Option<&LiveSession>,
    limit: i64,
) -> sqlx::Result<Vec<LiveSession>> {
    let (seen, id) = after.map(|session| (session.last_seen_at, session.id)).unzip();
    match user {
        Some(user) => {
            select_live!(
                " AND s.user_id = $4
                  AND ($2::timestamptz IS NULL OR s.last_seen_at < $2 OR s.last_seen_at = $2 AND s.id > $3)
                ORDER BY s.last_seen_at DESC, s.id
                LIMIT $1",
                limit,
                seen,
                id as Option<SessionId>,
                user as UserId,
            )
            .fetch_all(db::on(pool))
            .await
        }
        None => {
            db::long_transaction(pool, move |connection| {
                Box::pin(async move {
                    select_live!(
                        " AND ($2::timestamptz IS NULL OR s.last_seen_at < $2 OR s.last_seen_at = $2 AND s.id > $3)
                        ORDER BY s.last_seen_at DESC, s.id
                        LIMIT $1",
                        limit,
                        seen,
                        id as Option<SessionId>,
                    )
                    .fetch_all(connection)
                    .await
                })
            })
            .await
        }
    }
}

/// Finds the live session of a cookie.
pub async fn find(pool: &PgPool, cookie: &Digest) -> sqlx::Result<Option<LiveSession>> {
    select_live!(" AND s.token_digest = $1", &cookie.as_bytes()[..])
        .fetch_optional(db::on(pool))
        .await
}

/// Counts the live sessions of `user`, in the database.
pub async fn count_for_user(pool: &PgPool, user: UserId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM sessions WHERE user_id = $1 AND expires_at > now()"#,
        user as UserId,
    )
    .fetch_one(db::on(pool))
    .await
}
