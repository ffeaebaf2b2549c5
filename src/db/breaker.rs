//! Refuses transactions while commits stall.
//!
//! PostgreSQL with synchronous standbys confirms a commit when a standby has it. If every standby stalls, a commit
//! waits without a limit, no timeout of PostgreSQL applies, and closing the connection does not end its backend
//! process. Without a limit, each form would leave one such process behind.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::time::timeout;

use super::outage;
use super::statement::on;

/// Transactions are refused while this many abandoned commits wait for a standby.
const LIMIT: i64 = 3;
/// How often they are counted.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
const CHECK_DEADLINE: Duration = Duration::from_secs(1);

/// One for the process, which has one database.
static BREAKER: Mutex<Breaker> =
    Mutex::new(Breaker { has_stalled: false, admits: true, checked_at: None });

struct Breaker {
    /// Whether a deadline has passed since the last check that found no waiting commit.
    has_stalled: bool,
    /// The result of the last check.
    admits: bool,
    checked_at: Option<Instant>,
}

fn breaker() -> MutexGuard<'static, Breaker> {
    BREAKER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The deadline of a transaction has passed.
pub(super) fn note_stall() {
    breaker().has_stalled = true;
    outage::set_commits_stall(true);
}

/// Whether a transaction may begin. Costs a statement only after a stall.
pub(super) async fn admits(pool: &PgPool) -> bool {
    {
        let mut breaker = breaker();
        if !breaker.has_stalled {
            return true;
        }
        if breaker.checked_at.is_some_and(|at| at.elapsed() < CHECK_INTERVAL) {
            return breaker.admits;
        }
        breaker.checked_at = Some(Instant::now());
    }
    let waiting = sqlx::query_scalar::<_, i64>(
        "SELECT count(*) FROM pg_stat_activity
          WHERE datname = current_database() AND usename = session_user AND wait_event = 'SyncRep'",
    );
    let waiting = timeout(CHECK_DEADLINE, waiting.fetch_one(on(pool))).await;
    let mut breaker = breaker();
    breaker.admits = match waiting {
        Ok(Ok(0)) => {
            breaker.has_stalled = false;
            outage::set_commits_stall(false);
            true
        }
        Ok(Ok(waiting)) => waiting < LIMIT,
        // Not a stall of commits. The transaction itself will fail.
        Ok(Err(_)) | Err(_) => true,
    };
    breaker.admits
}
