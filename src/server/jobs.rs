//! The job that deletes expired data: audit events and the personal data in them, rate-limit counters, links,
//! registrations, invitations, finished mail, and accounts whose grace period is over. It deletes in bounded batches,
//! on one server at a time. An error is logged and does not stop the other deletions, and neither does a row or an
//! account that cannot be deleted. Expired sessions are deleted by a separate job, `session/purge.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::app::App;
use crate::background::JobRunner;
use crate::db::Batch;
use crate::mail::{outbox, suppression};
use crate::user::queue::{self, Queue};
use crate::user::{erasure, purge};
use crate::{audit, db, events, form_answers};

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
    Invitations,
    Recoveries,
    Mail,
    SuppressedRecipients,
    QueueFailures,
    MailLimits,
    FormAnswers,
    EndedSessions,
    EventDeliveries,
}

impl Expiring {
    const ALL: [(Expiring, &str); 15] = [
        (Expiring::Events, "events past their retention"),
        (Expiring::OriginsWithoutUser, "IP address and browser of events without a user"),
        (
            Expiring::OriginsOfDeletedAccounts,
            "IP address and browser of events of deleted accounts",
        ),
        (Expiring::RateLimitCounters, "expired rate-limit counters"),
        (Expiring::Links, "expired links"),
        (Expiring::Registrations, "registrations that were never verified"),
        (Expiring::Invitations, "invitations that were never accepted"),
        (Expiring::Recoveries, "password-reset requests"),
        (Expiring::Mail, "finished mail"),
        (Expiring::SuppressedRecipients, "recipients that are no longer suppressed"),
        (Expiring::QueueFailures, "failures of rows that are no longer in a queue"),
        (Expiring::MailLimits, "unused limits of mail"),
        (Expiring::FormAnswers, "answers to forms"),
        (Expiring::EndedSessions, "causes of ended sessions"),
        (Expiring::EventDeliveries, "events that hooks of the site got"),
    ];

    async fn delete_batch(
        self,
        connection: &mut PgConnection,
        retention: Duration,
        batch: Batch,
    ) -> sqlx::Result<u64> {
        let (limit, skipped) = (batch.limit(), batch.skipped());
        match self {
            Expiring::Events => audit::purge(connection, retention, limit).await,
            Expiring::OriginsWithoutUser => audit::anonymize_without_user(connection, limit).await,
            // All at once: a second batch would find the same deletions again.
            Expiring::OriginsOfDeletedAccounts => audit::anonymize_late(connection).await,
            Expiring::RateLimitCounters => {
                purge::rate_limit_counters(connection, limit, skipped).await
            }
            Expiring::Links => purge::email_tokens(connection, limit, skipped).await,
            Expiring::Registrations => purge::registrations(connection, limit, skipped).await,
            Expiring::Invitations => purge::invitations(connection, limit, skipped).await,
            Expiring::Recoveries => purge::recovery_requests(connection, limit, skipped).await,
            Expiring::Mail => outbox::purge(connection, limit, skipped).await,
            Expiring::SuppressedRecipients => suppression::purge(connection, limit, skipped).await,
            Expiring::QueueFailures => queue::purge(connection, limit, skipped).await,
            Expiring::MailLimits => outbox::purge_limits(connection, limit, skipped).await,
            // Nothing can keep these rows from being deleted, so none is skipped.
            Expiring::FormAnswers => form_answers::purge(connection, limit).await,
            Expiring::EndedSessions => audit::purge_ended_sessions(connection, limit).await,
            Expiring::EventDeliveries => events::purge(connection, limit, skipped).await,
        }
    }

    /// Whether one statement takes all rows, which may need longer than the statement timeout of pages.
    fn is_unbounded(self) -> bool {
        matches!(self, Expiring::OriginsOfDeletedAccounts)
    }

    /// Whether rows that cannot be deleted can be skipped. Functions in the database that take the oldest events
    /// cannot.
    fn can_skip(self) -> bool {
        !matches!(
            self,
            Expiring::Events
                | Expiring::OriginsWithoutUser
                | Expiring::OriginsOfDeletedAccounts
                | Expiring::FormAnswers
                | Expiring::EndedSessions
        )
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
        match purge_all(app, data, name).await {
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
async fn purge_all(app: &App, data: Expiring, name: &str) -> sqlx::Result<u64> {
    let (mut total, mut batch) = (0, Batch::of(BATCH_SIZE));
    let mut last_error = None;
    loop {
        let started_at = Instant::now();
        match delete_batch(app, data, batch).await {
            Ok(None) => break,
            Ok(Some(rows)) => {
                total += rows;
                if !batch.grow(rows) {
                    break;
                }
            }
            Err(error) if data.can_skip() && batch.shrink(&error) => last_error = Some(error),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(started_at.elapsed()).await;
    }
    let rows = batch.skipped();
    if let Some(error) = last_error.filter(|_| rows > 0) {
        db::log_failure(
            &format!("{name}: {rows} row(s) cannot be deleted and were skipped"),
            &error.into(),
        );
    }
    Ok(total)
}

/// Deletes one batch. `None`: another server holds the lock.
async fn delete_batch(app: &App, data: Expiring, batch: Batch) -> sqlx::Result<Option<u64>> {
    let retention = app.config.audit_retention;
    if data.is_unbounded() {
        return db::long_transaction(&app.pool, move |connection| {
            Box::pin(delete_batch_alone(connection, data, retention, batch))
        })
        .await;
    }
    db::transaction(&app.pool, move |connection| {
        Box::pin(delete_batch_alone(connection, data, retention, batch))
    })
    .await
}

async fn delete_batch_alone(
    connection: &mut PgConnection,
    data: Expiring,
    retention: Duration,
    batch: Batch,
) -> sqlx::Result<Option<u64>> {
    sqlx::query!("SET LOCAL lock_timeout = '500ms'").execute(&mut *connection).await?;
    let has_lock = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "mine!""#, LOCK)
        .fetch_one(&mut *connection)
        .await?;
    if !has_lock {
        return Ok(None);
    }
    data.delete_batch(connection, retention, batch).await.map(Some)
}

/// Deletes each account whose grace period is over in its own transaction. A row lock prevents two servers from
/// deleting the same account. An account that cannot be deleted does not stop the others.
async fn delete_accounts(app: &App) -> sqlx::Result<()> {
    let (mut after, mut deleted) = (None, 0);
    loop {
        let due = erasure::list_due(&app.pool, after, BATCH_SIZE).await?;
        for account in &due {
            match erasure::delete_if_due(&app.pool, &app.sealer, &app.hooks, account.id).await {
                Ok(true) => {
                    app.sessions.invalidate_user(account.id).await;
                    deleted += 1;
                }
                Ok(false) => {}
                Err(error) => {
                    let id = account.id.uuid();
                    let postponed = queue::postpone(&app.pool, Queue::Deletions, id, error).await;
                    if let Err(error) = postponed {
                        db::log_failure("a failed deletion could not be noted", &error.into());
                    }
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
