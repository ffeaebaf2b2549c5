//! The store: rows of `sessions` as actix-session asks for them. `update` never inserts: a session that
//! ended while a request was in flight stays ended, and what that request wanted to keep is dropped.

use std::collections::HashMap;
use std::time::Duration;

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time::Duration as Ttl;
use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::state::{self, Current, FORMAT_VERSION, Incoming, Person};
use super::touch::Touch;
use super::windows::Windows;
use crate::audit::{self, Event};
use crate::db;
use crate::id::{SessionId, UserId};
use crate::secret::{Digest, Secret};

/// A page that waited this long for its session answers 503 instead (with the way back the answer
/// stays under three seconds).
const LOAD_DEADLINE: Duration = Duration::from_millis(2400);

/// Sessions in PostgreSQL. Cheap to clone; every clone shares the pool and the pending touches.
#[derive(Clone)]
pub struct PgSessionStore {
    pool: PgPool,
    windows: Windows,
    touch: Touch,
}

/// Why a sign-in began no session although the password was right.
#[derive(Debug, thiserror::Error)]
#[error("the account was disabled, deleted or got another password while somebody signed in")]
struct Overtaken;

struct Row {
    id: Uuid,
    state: Value,
    format_version: i16,
    created_at: OffsetDateTime,
    authenticated_at: Option<OffsetDateTime>,
    remembered: bool,
    seconds_since_seen: f64,
    seconds_left: f64,
    absolute_seconds: f64,
    idle_seconds: f64,
    user_id: Option<Uuid>,
    email: Option<String>,
    display_name: Option<String>,
    role: Option<String>,
}

impl PgSessionStore {
    /// A store on `pool` whose new sessions get `windows`.
    pub fn new(pool: PgPool, windows: Windows) -> Self {
        let touch = Touch::new(pool.clone());
        Self { pool, windows, touch }
    }

    /// What is still to be written about activity; a loop must call [`Touch::flush`].
    pub fn touch(&self) -> &Touch {
        &self.touch
    }

    /// Session and user in one statement; by the database's clock only.
    async fn find(&self, digest: &Digest) -> sqlx::Result<Option<Row>> {
        sqlx::query_as!(
            Row,
            r#"
            SELECT s.id,
                   s.state,
                   s.format_version,
                   s.created_at,
                   s.authenticated_at,
                   s.remembered,
                   EXTRACT(EPOCH FROM now() - s.last_seen_at)::float8 AS "seconds_since_seen!",
                   EXTRACT(EPOCH FROM s.expires_at - now())::float8 AS "seconds_left!",
                   EXTRACT(EPOCH FROM s.absolute_expires_at - now())::float8 AS "absolute_seconds!",
                   EXTRACT(EPOCH FROM s.idle_timeout)::float8 AS "idle_seconds!",
                   s.user_id,
                   u.email AS "email?",
                   u.display_name AS "display_name?",
                   u.role AS "role?"
              FROM sessions s
              LEFT JOIN users u ON u.id = s.user_id
             WHERE s.token_digest = $1
               AND s.expires_at > now()
               AND u.disabled_at IS NULL
            "#,
            digest.as_bytes(),
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// [`Self::find`], once more when a pooled connection turned out to be dead.
    async fn find_patiently(&self, digest: &Digest) -> anyhow::Result<Option<Row>> {
        let look = async {
            match self.find(digest).await {
                Err(sqlx::Error::Io(_)) => self.find(digest).await,
                other => other,
            }
        };
        let row = tokio::time::timeout(LOAD_DEADLINE, look)
            .await
            .context("PostgreSQL did not answer in time")??;
        Ok(row)
    }

    async fn insert(&self, incoming: Incoming) -> anyhow::Result<Secret> {
        let secret = Secret::generate();
        let digest = secret.digest();
        let (idle, absolute) = self.windows.seconds(incoming.birth.remembered);
        db::transaction::<_, anyhow::Error, _>(&self.pool, move |connection| {
            Box::pin(async move {
                let Incoming { user, birth, rest } = incoming;
                if let Some(user) = user {
                    // Locked until the commit: a change of password that comes later sees this session
                    // and ends it; one that came earlier is seen here and begins none.
                    let still_good = sqlx::query_scalar!(
                        r#"
                        SELECT true AS "good!"
                          FROM users
                         WHERE id = $1
                           AND disabled_at IS NULL
                           AND ($2::timestamptz IS NULL OR password_changed_at = $2)
                           FOR SHARE
                        "#,
                        user.uuid(),
                        birth.credential_of,
                    )
                    .fetch_optional(&mut *connection)
                    .await?;
                    still_good.ok_or(Overtaken)?;
                }
                let id = SessionId::generate();
                sqlx::query!(
                    r#"
                    INSERT INTO sessions
                           (token_digest, id, user_id, state, authenticated_at, remembered,
                            auth_methods, ip_address, user_agent, format_version,
                            idle_timeout, expires_at, absolute_expires_at)
                    VALUES ($1, $2, $3, $4, CASE WHEN $3::uuid IS NULL THEN NULL ELSE now() END, $5,
                            $6, CAST($7::text AS inet), $8, $9,
                            make_interval(secs => $10),
                            now() + make_interval(secs => $10),
                            now() + make_interval(secs => $11))
                    "#,
                    digest.as_bytes(),
                    id.uuid(),
                    user.map(UserId::uuid),
                    rest,
                    birth.remembered,
                    &birth.auth_methods,
                    birth.origin.ip_address.map(|address| address.to_string()),
                    birth.origin.user_agent,
                    FORMAT_VERSION,
                    idle,
                    absolute,
                )
                .execute(&mut *connection)
                .await?;
                if user.is_some() {
                    audit::record(
                        connection,
                        Event {
                            name: "signed_in",
                            user,
                            session: Some(id),
                            origin: &birth.origin,
                            details: json!({
                                "methods": birth.auth_methods,
                                "remembered": birth.remembered,
                            }),
                        },
                    )
                    .await?;
                }
                Ok(())
            })
        })
        .await?;
        Ok(secret)
    }
}

impl SessionStore for PgSessionStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<HashMap<String, String>>, LoadError> {
        let Some(secret) = Secret::parse(key.as_ref()) else {
            return Ok(None);
        };
        let digest = secret.digest();
        let row = self
            .find_patiently(&digest)
            .await
            .inspect_err(|error| {
                tracing::warn!(error = format!("{error:#}"), "no session could be loaded")
            })
            .map_err(LoadError::Other)?;
        let Some(row) = row else {
            return Ok(None);
        };
        if row.format_version > FORMAT_VERSION + 1 {
            tracing::warn!(session = %row.id, row.format_version, "a session is written in a newer format");
            return Ok(None);
        }
        self.touch.mark(&digest, row.seconds_since_seen, row.idle_seconds, row.seconds_left).await;
        let user = match (row.user_id, row.email, row.display_name, row.role) {
            (Some(id), Some(email), Some(display_name), Some(role)) => {
                Some(Person { id: UserId::from(id), email, display_name, role })
            }
            _ => None,
        };
        let current = Current {
            id: SessionId::from(row.id),
            remembered: row.remembered,
            created_at: row.created_at,
            authenticated_at: row.authenticated_at,
            absolute_seconds: row.absolute_seconds as i64,
            user,
        };
        current
            .into_map(row.state)
            .map(Some)
            .map_err(|error| LoadError::Deserialization(error.into()))
    }

    /// Begins a session. The windows are the store's own; actix-session's `ttl` is one for all and not
    /// used.
    async fn save(
        &self,
        state: HashMap<String, String>,
        _ttl: &Ttl,
    ) -> Result<SessionKey, SaveError> {
        let incoming =
            state::take_apart(state).map_err(|error| SaveError::Serialization(error.into()))?;
        let secret = self
            .insert(incoming)
            .await
            .inspect_err(|error| {
                tracing::warn!(error = format!("{error:#}"), "no session could begin")
            })
            .map_err(SaveError::Other)?;
        SessionKey::try_from(secret.reveal())
            .map_err(|_| SaveError::Other(anyhow!("a secret of 43 characters is a session key")))
    }

    /// Writes what changed on a session that still exists; otherwise drops it.
    async fn update(
        &self,
        key: SessionKey,
        state: HashMap<String, String>,
        _ttl: &Ttl,
    ) -> Result<SessionKey, UpdateError> {
        let Some(secret) = Secret::parse(key.as_ref()) else {
            return Ok(key);
        };
        let incoming =
            state::take_apart(state).map_err(|error| UpdateError::Serialization(error.into()))?;
        let digest = secret.digest();
        let updated = sqlx::query!(
            r#"
            UPDATE sessions
               SET state = $2
             WHERE token_digest = $1
               AND expires_at > now()
            "#,
            digest.as_bytes(),
            incoming.rest,
        )
        .execute(&self.pool)
        .await
        .map_err(|error| UpdateError::Other(error.into()))?;
        if updated.rows_affected() == 0 {
            tracing::info!(
                "a session ended while a request was in flight; its changes are dropped"
            );
        }
        Ok(key)
    }

    /// Nothing: sessions slide by [`Touch`], in batches.
    async fn update_ttl(&self, _key: &SessionKey, _ttl: &Ttl) -> Result<(), anyhow::Error> {
        Ok(())
    }

    /// Ends the session, for good. actix-session asks for it when a session is purged, and when it is
    /// replaced at a new sign-in.
    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        let Some(secret) = Secret::parse(key.as_ref()) else {
            return Ok(());
        };
        super::revoke::replaced(&self.pool, secret.digest()).await?;
        Ok(())
    }
}
