//! Writes the changes of a request to the state of its session.

use serde_json::Value;
use sqlx::{PgExecutor, PgPool};

use crate::crypto::secret::Digest;
use crate::db;

/// The write of a [`StateChange`](super::state::StateChange) to a session.
#[derive(Clone)]
pub(super) struct StateWrite {
    pub(super) digest: Digest,
    pub(super) set: Value,
    pub(super) removed: Vec<String>,
    /// `set` replaces the whole state.
    pub(super) replaces_all: bool,
}

impl StateWrite {
    /// Returns the number of changed sessions: 0 if the session has ended. This is one statement without a
    /// transaction. If PostgreSQL's notification queue is full, the statement is retried in a transaction
    /// that does not notify.
    pub(super) async fn run(self, pool: &PgPool) -> sqlx::Result<u64> {
        match self.update(db::on(pool)).await {
            Err(error) if db::is_notification_queue_full(&error) => {
                db::transaction(pool, move |connection| {
                    Box::pin(async move { self.update(connection).await })
                })
                .await
            }
            other => other,
        }
    }

    async fn update(&self, executor: impl PgExecutor<'_>) -> sqlx::Result<u64> {
        let updated = sqlx::query!(
            r#"
            UPDATE sessions AS s
               SET state = CASE WHEN $4 THEN $2 ELSE (s.state - $3::text[]) || $2 END
             WHERE s.token_digest = $1
               AND s.expires_at > now()
               AND NOT EXISTS (
                   SELECT FROM users u WHERE u.id = s.user_id AND u.disabled_at IS NOT NULL)
            "#,
            self.digest.as_bytes(),
            self.set,
            &self.removed,
            self.replaces_all,
        )
        .execute(executor)
        .await?;
        Ok(updated.rows_affected())
    }
}
