//! The advisory lock that lets one process at a time apply migrations.

use std::time::{Duration, Instant};

use sqlx::PgConnection;

/// The advisory lock that is held while migrations run ("frontdmi" in ASCII).
const LOCK: i64 = 0x6672_6f6e_7464_6d69;
const LOCK_RETRY: Duration = Duration::from_millis(100);
/// How often the wait for the lock is logged.
const LOCK_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Waits for the lock and takes it. Polls, because a waiting statement holds a snapshot, which would block CREATE
/// INDEX CONCURRENTLY in the process that holds the lock. `report` gets a message every ten seconds; it is also
/// logged.
pub(super) async fn acquire(
    connection: &mut PgConnection,
    report: impl Fn(&str),
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut logged_at: Option<Instant> = None;
    let try_lock = "SELECT pg_try_advisory_lock($1)";
    while !sqlx::query_scalar::<_, bool>(try_lock).bind(LOCK).fetch_one(&mut *connection).await? {
        if logged_at.is_none_or(|at| at.elapsed() >= LOCK_LOG_INTERVAL) {
            let holder = lock_holder(connection).await?;
            let seconds = began.elapsed().as_secs();
            let message =
                format!("waiting for the migration lock, held by {holder}, for {seconds} s");
            tracing::warn!("{message}");
            report(&message);
            logged_at = Some(Instant::now());
        }
        tokio::time::sleep(LOCK_RETRY).await;
    }
    Ok(())
}

/// Describes the session that holds the migration lock. What PostgreSQL hides from this role is left out.
async fn lock_holder(connection: &mut PgConnection) -> anyhow::Result<String> {
    let holder: Option<String> = sqlx::query_scalar(
        "SELECT concat('PostgreSQL process ', l.pid,
                       ' (' || nullif(a.application_name, '') || ')',
                       ' of ' || a.usename,
                       ' from ' || host(a.client_addr),
                       ', connected for ' || round(extract(epoch FROM clock_timestamp() - a.backend_start)) || ' s')
           FROM pg_locks l
           LEFT JOIN pg_stat_activity a ON a.pid = l.pid
          WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND (l.classid::bigint << 32 | l.objid::bigint) = $1
          LIMIT 1",
    )
    .bind(LOCK)
    .fetch_optional(connection)
    .await?;
    Ok(holder.unwrap_or_else(|| "a process that has just ended".to_owned()))
}
