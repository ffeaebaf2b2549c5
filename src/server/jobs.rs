//! The job that deletes expired data: audit events and the personal data in them, rate-limit counters, links, registrations, finished mail,
//! and accounts whose grace period is over. It deletes in bounded batches, on one server at a time. An error
//! is logged and does not stop the other deletions. Expired sessions are deleted by a separate job,
//! `session/purge.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::app::App;
use crate::background::JobRunner;
use crate::mail::outbox;
use crate::user::{erasure, purge};
use crate::{audit, db};

/// Rows per statement: few enough that no request waits long for a lock.
const BATCH_SIZE: i64 = 1000;
/// The PostgreSQL advisory lock of this job ("frontdhk" in ASCII).
const LOCK: i64 = 0x6672_6f6e_7464_686b;

/// A kind of data that expires.
#[derive(Clone, Copy, Debug)]
enum Expiring {
    Events,
    OriginsWithoutUser,
    OriginsOfDeletedAccounts,
    RateLimitCounters,
    Links,
    Registrations,
    Recoveries,
    Mail,
}

impl Expiring {
    const ALL: [(Expiring, &str); 8] = [
        (Expiring::Events, "events past their retention"),
        (Expiring::OriginsWithoutUser, "IP address and browser of events without a user"),
        (
            Expiring::OriginsOfDeletedAccounts,
            "IP address and browser of events of deleted accounts",
        ),
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
            Expiring::OriginsWithoutUser => {
                audit::anonymize_without_user(connection, BATCH_SIZE).await
            }
            // All at once: a second batch would find the same deletions again.
            Expiring::OriginsOfDeletedAccounts => audit::anonymize_late(connection).await,
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
    if let Err(error) = delete_accounts(app).await {
        let what = "accounts that are due could not be listed; trying again later";
        db::log_failure(what, &error.into());
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

/// Deletes each account whose grace period is over in its own transaction. A row lock prevents two servers from
/// deleting the same account. An account that cannot be deleted is logged and does not stop the others.
async fn delete_accounts(app: &App) -> sqlx::Result<()> {
    let (mut after, mut deleted) = (None, 0);
    loop {
        let due = erasure::list_due(&app.pool, after, BATCH_SIZE).await?;
        for account in &due {
            match erasure::delete_if_due(&app.pool, &app.sealer, account.id).await {
                Ok(true) => {
                    app.sessions.invalidate_user(account.id).await;
                    deleted += 1;
                }
                Ok(false) => {}
                Err(error) => {
                    let user = account.id;
                    let what = format!(
                        "the account {user} is due and could not be deleted; trying again later"
                    );
                    db::log_failure(&what, &error.into());
                }
            }
        }
        after = due.last().copied();
        if (due.len() as i64) < BATCH_SIZE {
            break;
        }
    }
    if deleted > 0 {
        tracing::info!(accounts = deleted, "deleted accounts whose grace period was over");
    }
    Ok(())
}
