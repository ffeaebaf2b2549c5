//! Sessions in a table of PostgreSQL.

use std::collections::HashMap;

use actix_session::storage::{
    LoadError, SaveError, SessionKey, SessionStore, UpdateError, generate_session_key,
};
use actix_web::{cookie::time::Duration, rt::time};
use sqlx::{PgPool, types::Json};

type State = HashMap<String, String>;

#[derive(Clone)]
pub struct PgSessionStore {
    pool: PgPool,
}

impl PgSessionStore {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Deletes expired sessions, now and every minute.
    pub async fn purge(self) {
        let mut minutes = time::interval(std::time::Duration::from_secs(60));
        loop {
            minutes.tick().await;
            let delete = sqlx::query("DELETE FROM sessions WHERE expires_at < now()");
            if let Err(error) = delete.execute(&self.pool).await {
                eprintln!("expired sessions were not deleted: {error}");
            }
        }
    }

    async fn upsert(&self, key: &SessionKey, state: &State, ttl: &Duration) -> anyhow::Result<()> {
        sqlx::query(
            "INSERT INTO sessions (key, state, expires_at) VALUES ($1, $2, now() + make_interval(secs => $3))
             ON CONFLICT (key) DO UPDATE SET state = excluded.state, expires_at = excluded.expires_at",
        )
        .bind(key.as_ref())
        .bind(Json(state))
        .bind(ttl.as_seconds_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

impl SessionStore for PgSessionStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        let state: Option<Json<State>> =
            sqlx::query_scalar("SELECT state FROM sessions WHERE key = $1 AND expires_at > now()")
                .bind(key.as_ref())
                .fetch_optional(&self.pool)
                .await
                .map_err(|error| LoadError::Other(error.into()))?;
        Ok(state.map(|Json(state)| state))
    }

    async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
        let key = generate_session_key();
        self.upsert(&key, &state, ttl).await.map_err(SaveError::Other)?;
        Ok(key)
    }

    async fn update(
        &self,
        key: SessionKey,
        state: State,
        ttl: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        self.upsert(&key, &state, ttl).await.map_err(UpdateError::Other)?;
        Ok(key)
    }

    async fn update_ttl(&self, key: &SessionKey, ttl: &Duration) -> anyhow::Result<()> {
        sqlx::query(
            "UPDATE sessions SET expires_at = now() + make_interval(secs => $2) WHERE key = $1",
        )
        .bind(key.as_ref())
        .bind(ttl.as_seconds_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> anyhow::Result<()> {
        sqlx::query("DELETE FROM sessions WHERE key = $1")
            .bind(key.as_ref())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
