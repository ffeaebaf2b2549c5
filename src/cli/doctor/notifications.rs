//! The notifications between servers, and PostgreSQL's queue for them.

use sqlx::PgPool;

use super::findings::{Findings, Verdict};
use crate::config::Config;
use crate::db;
use crate::session::cache::invalidation;

/// Fill levels of the notification queue, from 0 to 1, that are reported as a warning and as a problem.
const QUEUE_WARNING: f64 = 0.1;
const QUEUE_PROBLEM: f64 = 0.9;

/// Whether a transaction prevents PostgreSQL from emptying its notification queue.
pub(super) async fn queue(pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    let usage = invalidation::notification_queue_usage(db::on(pool)).await?;
    let percent = usage * 100.0;
    if usage < QUEUE_WARNING {
        findings.add(
            Verdict::Ok,
            "queue",
            format!("The notification queue is {percent:.0} % full."),
        );
        return Ok(());
    }
    // Only a superuser or a member of pg_read_all_stats sees the transactions of other users.
    let oldest: Option<(i32, String)> = sqlx::query_as(
        "SELECT pid, application_name FROM pg_stat_activity
          WHERE state LIKE 'idle in transaction%' ORDER BY xact_start LIMIT 1",
    )
    .fetch_optional(db::on(pool))
    .await?;
    let hint = match oldest {
        Some((pid, name)) => format!(
            "The oldest idle transaction belongs to process {pid} (application_name {name:?}). To end it, run: SELECT pg_terminate_backend({pid});"
        ),
        None => "PostgreSQL's log names the process once the queue is half full. To see it here, run doctor as a superuser or with the role pg_read_all_stats.".to_owned(),
    };
    findings.add(
        if usage < QUEUE_PROBLEM { Verdict::Warning } else { Verdict::Problem },
        "queue",
        format!(
            "PostgreSQL's notification queue is {percent:.0} % full because a listening connection stays in a transaction. When the queue is full, sessions are not served from the cache and each sign-out takes 3 seconds. {hint}"
        ),
    );
    Ok(())
}

/// Whether notifications arrive. Without them, sessions are not served from the cache.
pub(super) async fn round_trip(config: &Config, database: &db::Database, findings: &mut Findings) {
    if config.session_cache.is_none() {
        findings.add(Verdict::Ok, "cache", "Off: every signed-in page queries the database.");
        return;
    }
    let round_trip = async {
        let options = database.listen_options(config)?;
        if invalidation::shares_backends(&options).await? {
            anyhow::bail!("the connection goes through a pooler in transaction mode");
        }
        let pool =
            sqlx::postgres::PgPoolOptions::new().max_connections(1).connect_with(options).await?;
        let mut listener = sqlx::postgres::PgListener::connect_with(&pool).await?;
        listener.listen("frontdesk.doctor").await?;
        let mut other = database.pool.acquire().await?;
        sqlx::query("SELECT pg_notify('frontdesk.doctor', '')").execute(&mut *other).await?;
        listener.recv().await?;
        anyhow::Ok(())
    };
    match tokio::time::timeout(std::time::Duration::from_secs(3), round_trip).await {
        Ok(Ok(())) => findings.add(Verdict::Ok, "cache", "Notifications arrive: sessions are served from the cache."),
        Ok(Err(error)) => findings.add(
            Verdict::Warning,
            "cache",
            format!("LISTEN failed ({}), so every signed-in page queries the database. Set FRONTDESK_LISTEN_URL to a direct PostgreSQL URL, or set FRONTDESK_SESSION_CACHE=off.", db::explain(&error)),
        ),
        Err(_) => findings.add(
            Verdict::Warning,
            "cache",
            "Notifications do not arrive (a common cause is a pooler in transaction mode), so every signed-in page queries the database. Set FRONTDESK_LISTEN_URL to a direct PostgreSQL URL, or set FRONTDESK_SESSION_CACHE=off.",
        ),
    }
}
