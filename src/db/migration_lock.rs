//! The advisory locks that let one process at a time apply migrations.

use std::time::{Duration, Instant};

use sqlx::PgConnection;

/// The advisory lock that Frontdesk holds while its migrations run ("frontdmi" in ASCII).
const LOCK: i64 = 0x6672_6f6e_7464_6d69;
const LOCK_RETRY: Duration = Duration::from_millis(100);
/// How often the wait for a lock is logged.
const LOCK_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Waits for the locks and takes them: that of Frontdesk, and that of `sqlx migrate`, which may be running. Polls,
/// because a waiting statement holds a snapshot, which would block CREATE INDEX CONCURRENTLY in the process that
/// holds the lock. `report` gets a message every ten seconds; it is also logged.
pub(super) async fn acquire(
    connection: &mut PgConnection,
    report: impl Fn(&str),
) -> anyhow::Result<()> {
    let database: String =
        sqlx::query_scalar("SELECT current_database()").fetch_one(&mut *connection).await?;
    let began = Instant::now();
    let mut logged_at: Option<Instant> = None;
    for lock in [LOCK, sqlx_lock(&database)] {
        let try_lock = "SELECT pg_try_advisory_lock($1)";
        while !sqlx::query_scalar::<_, bool>(try_lock)
            .bind(lock)
            .fetch_one(&mut *connection)
            .await?
        {
            if logged_at.is_none_or(|at| at.elapsed() >= LOCK_LOG_INTERVAL) {
                let holder = lock_holder(connection, lock).await?;
                let seconds = began.elapsed().as_secs();
                let message = format!(
                    "waiting for the migration lock for {seconds} s; it is held by {holder}"
                );
                tracing::warn!("{message}");
                report(&message);
                logged_at = Some(Instant::now());
            }
            tokio::time::sleep(LOCK_RETRY).await;
        }
    }
    Ok(())
}

/// The lock of sqlx for the migrations of a database (`generate_lock_id` of sqlx-postgres). sqlx waits for it in
/// a statement. A session can take a lock several times, so it does not wait for its own.
fn sqlx_lock(database: &str) -> i64 {
    0x3d32_ad9e * i64::from(crc32fast::hash(database.as_bytes()))
}

/// Describes the session that holds the migration lock. What PostgreSQL hides from this role is left out.
async fn lock_holder(connection: &mut PgConnection, lock: i64) -> anyhow::Result<String> {
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
    .bind(lock)
    .fetch_optional(connection)
    .await?;
    Ok(holder.unwrap_or_else(|| "a process that has just ended".to_owned()))
}
