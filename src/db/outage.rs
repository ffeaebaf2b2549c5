//! Logs an outage of the database once: a warning when it begins, and its duration when it is over. The failures in
//! between, one for each request and each round of a job, are logged at the level DEBUG.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A success ends an outage only if nothing has failed for this long: during a failover some statements succeed
/// while others fail.
const QUIET: Duration = Duration::from_secs(5);

/// Whether [`OUTAGE`] is set, to be read without a lock.
static IS_AWAY: AtomicBool = AtomicBool::new(false);
/// Whether commits may stall: the deadline of a transaction has passed, and no check has shown otherwise since.
/// Statements that only read succeed meanwhile, and do not end the outage.
static COMMITS_STALL: AtomicBool = AtomicBool::new(false);
static OUTAGE: Mutex<Option<Outage>> = Mutex::new(None);

struct Outage {
    began_at: Instant,
    failed_at: Instant,
    failures: u64,
}

fn outage() -> MutexGuard<'static, Option<Outage>> {
    OUTAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Logs that `what` failed because the database is unavailable.
pub(super) fn report(what: &str, cause: &str) {
    let now = Instant::now();
    let mut outage = outage();
    if let Some(outage) = outage.as_mut() {
        outage.failed_at = now;
        outage.failures += 1;
        tracing::debug!(error = cause, "{what}");
        return;
    }
    *outage = Some(Outage { began_at: now, failed_at: now, failures: 1 });
    IS_AWAY.store(true, Ordering::Release);
    drop(outage);
    tracing::warn!(
        error = cause,
        "the database is unavailable: {what}. Further failures are logged at the level DEBUG"
    );
}

/// Whether an outage is being logged.
pub(super) fn is_ongoing() -> bool {
    IS_AWAY.load(Ordering::Acquire)
}

/// Sets whether commits stall.
pub(super) fn set_commits_stall(stall: bool) {
    COMMITS_STALL.store(stall, Ordering::Release);
}

/// A statement succeeded.
pub(super) fn succeeded() {
    if !is_ongoing() || COMMITS_STALL.load(Ordering::Acquire) {
        return;
    }
    let mut outage = outage();
    let is_over = outage.as_ref().is_some_and(|outage| outage.failed_at.elapsed() > QUIET);
    if let (true, Some(over)) = (is_over, outage.as_ref()) {
        let seconds = format!("{:.1}", (over.failed_at - over.began_at).as_secs_f64());
        let failures = over.failures;
        *outage = None;
        IS_AWAY.store(false, Ordering::Release);
        tracing::info!(seconds, failures, "the database is available again");
    }
}
