//! The job that deletes expired data: audit events, rate-limit counters, links, registrations, finished mail,
//! and accounts whose grace period is over. It deletes in bounded batches, on one server at a time. An error
//! is logged and does not stop the other deletions. Expired sessions are deleted by a separate job,
//! `session/purge.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::app::App;
use crate::background::JobRunner;
use crate::mail::outbox;
use crate::user::{deletion, purge};
use crate::{audit, db};

/// Rows per statement: few enough that no request waits long for a lock.
const BATCH_SIZE: i64 = 1000;
/// The PostgreSQL advisory lock of this job ("frontdhk" in ASCII).
const LOCK: i64 = 0x6672_6f6e_7464_686b;

/// A kind of data that expires.
#[derive(Clone, Copy, Debug)]
enum Expiring {
    Events,
    RateLimitCounters,
    Links,
    Registrations,
    Recoveries,
    Mail,
}

impl Expiring {
    const ALL: [(Expiring, &str); 6] = [
        (Expiring::Events, "events past their retention"),
        (Expiring::RateLimitCounters, "expired rate-limit counters"),
        (Expiring::Links, "expired links"),
        (Expiring::Registrations, "registrations that were never verified"),
        (Expiring::Recoveries, "password-reset requests"),
        (Expiring::Mail, "finished mail"),
    ];

    async fn delete_batch(
        self,
        connection: &mut PgConnection,
        retention: Duration,
    ) -> sqlx::Result<u64> {
        match self {
            Expiring::Events => audit::purge(connection, retention, BATCH_SIZE).await,
            Expiring::RateLimitCounters => purge::rate_limit_counters(connection, BATCH_SIZE).await,
            Expiring::Links => purge::email_tokens(connection, BATCH_SIZE).await,
            Expiring::Registrations => purge::registrations(connection, BATCH_SIZE).await,
            Expiring::Recoveries => purge::recovery_requests(connection, BATCH_SIZE).await,
            Expiring::Mail => outbox::purge(connection, BATCH_SIZE).await,
        }
    }
}

/// Starts the job, which runs every `FRONTDESK_PURGE_INTERVAL`.
pub fn start(runner: &mut JobRunner, app: Arc<App>) {
    runner.run_every_interruptible("housekeeping", app.config.purge_interval, move || {
        let app = Arc::clone(&app);
        async move { run_once(&app).await }
    });
}

/// Deletes everything that has expired.
async fn run_once(app: &App) {
    for (data, name) in Expiring::ALL {
        match purge_all(app, data).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "deleted {name}"),
            Err(error) => {
                let what = format!("{name} could not be deleted; trying again later");
                db::log_failure(&what, &error.into());
            }
        }
    }
    match delete_accounts(app).await {
        Ok(0) => {}
        Ok(accounts) => tracing::info!(accounts, "deleted accounts whose grace period was over"),
        Err(error) => {
            let what = "accounts that are due could not be deleted; trying again later";
            db::log_failure(what, &error.into());
        }
    }
}

/// Deletes batches until one is not full. Sleeps as long as each batch took, to leave the database time for
/// requests.
async fn purge_all(app: &App, data: Expiring) -> sqlx::Result<u64> {
    let mut total = 0;
    loop {
        let started_at = Instant::now();
        match batch(app, data).await? {
            None => return Ok(total),
            Some(rows) => {
                total += rows;
                if rows < BATCH_SIZE as u64 {
                    return Ok(total);
                }
            }
        }
        tokio::time::sleep(started_at.elapsed()).await;
    }
}

/// Deletes one batch. `None`: another server holds the lock.
async fn batch(app: &App, data: Expiring) -> sqlx::Result<Option<u64>> {
    let retention = app.config.audit_retention;
    db::transaction(&app.pool, move |connection| {
        Box::pin(async move {
            sqlx::query!("SET LOCAL lock_timeout = '500ms'").execute(&mut *connection).await?;
            let has_lock =
                sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "mine!""#, LOCK)
                    .fetch_one(&mut *connection)
                    .await?;
            if !has_lock {
                return Ok(None);
            }
            data.delete_batch(connection, retention).await.map(Some)
        })
    })
    .await
}

/// Deletes each account in its own transaction. A row lock prevents two servers from deleting the same
/// account.
async fn delete_accounts(app: &App) -> sqlx::Result<u64> {
    let mut deleted = 0;
    while let Some(user) = deletion::delete_next_due(&app.pool, &app.sealer).await? {
        app.sessions.invalidate_user(user).await;
        deleted += 1;
    }
    Ok(deleted)
}
