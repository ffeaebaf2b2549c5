//! What goes by itself: events past their retention, links, registrations and counters that are over, finished mail,
//! accounts whose days of grace are over. In bounded batches, by one server of the cluster at a time; an error is logged
//! and the rest goes on. Expired sessions are `session/purge.rs`'s, which works alone as well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::app::App;
use crate::background::Loops;
use crate::mail::outbox;
use crate::user::{deletion, purge};
use crate::{audit, db};

/// Rows in one statement: short enough that nobody waits.
const BATCH: i64 = 1000;
/// Names this work among PostgreSQL's advisory locks ("frontdhk" in ASCII).
const LOCK: i64 = 0x6672_6f6e_7464_686b;

/// What is kept for a while only.
#[derive(Clone, Copy, Debug)]
enum Kept {
    Events,
    Throttles,
    Links,
    Registrations,
    Recoveries,
    Mail,
}

impl Kept {
    const ALL: [(Kept, &str); 6] = [
        (Kept::Events, "events past their retention"),
        (Kept::Throttles, "forgotten counters"),
        (Kept::Links, "expired links"),
        (Kept::Registrations, "registrations that were never verified"),
        (Kept::Recoveries, "requests for a new password"),
        (Kept::Mail, "finished mail"),
    ];

    async fn batch(self, connection: &mut PgConnection, retention: Duration) -> sqlx::Result<u64> {
        match self {
            Kept::Events => audit::purge(connection, retention, BATCH).await,
            Kept::Throttles => purge::throttles(connection, BATCH).await,
            Kept::Links => purge::email_tokens(connection, BATCH).await,
            Kept::Registrations => purge::registrations(connection, BATCH).await,
            Kept::Recoveries => purge::recovery_requests(connection, BATCH).await,
            Kept::Mail => outbox::purge(connection, BATCH).await,
        }
    }
}

/// Begins the loop, as often as `FRONTDESK_PURGE_INTERVAL` says.
pub fn start(loops: &mut Loops, app: Arc<App>) {
    loops.spawn_in_steps("housekeeping", app.config.purge_interval, move || {
        let app = Arc::clone(&app);
        async move { round(&app).await }
    });
}

/// One round of everything.
pub async fn round(app: &App) {
    for (kept, words) in Kept::ALL {
        match purge_all(app, kept).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "deleted {words}"),
            Err(error) => {
                tracing::warn!(%error, "{words} could not be deleted; trying again later")
            }
        }
    }
    match delete_accounts(app).await {
        Ok(0) => {}
        Ok(accounts) => tracing::info!(accounts, "deleted accounts whose days of grace were over"),
        Err(error) => {
            tracing::warn!(%error, "accounts that are due could not be deleted; trying again later")
        }
    }
}

/// Until a batch comes back short; half of the time it rests, so that pages do not notice.
async fn purge_all(app: &App, kept: Kept) -> sqlx::Result<u64> {
    let mut sum = 0;
    loop {
        let began = Instant::now();
        match batch(app, kept).await? {
            None => return Ok(sum),
            Some(rows) => {
                sum += rows;
                if rows < BATCH as u64 {
                    return Ok(sum);
                }
            }
        }
        tokio::time::sleep(began.elapsed()).await;
    }
}

/// `None`: another server is at it.
async fn batch(app: &App, kept: Kept) -> sqlx::Result<Option<u64>> {
    let retention = app.config.audit_retention;
    db::transaction(&app.pool, move |connection| {
        Box::pin(async move {
            sqlx::query!("SET LOCAL lock_timeout = '500ms'").execute(&mut *connection).await?;
            let mine =
                sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "mine!""#, LOCK)
                    .fetch_one(&mut *connection)
                    .await?;
            if !mine {
                return Ok(None);
            }
            kept.batch(connection, retention).await.map(Some)
        })
    })
    .await
}

/// One account a transaction; the row lock keeps two servers from the same one.
async fn delete_accounts(app: &App) -> sqlx::Result<u64> {
    let mut deleted = 0;
    while let Some(user) = deletion::delete_next_due(&app.pool, &app.sealer).await? {
        app.sessions.invalidate_user(user).await;
        deleted += 1;
    }
    Ok(deleted)
}
