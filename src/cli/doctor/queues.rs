//! Work of background jobs that failed.

use sqlx::PgPool;

use super::findings::{Findings, Verdict};
use crate::db;
use crate::events;
use crate::program;
use crate::user::queue;

/// How many rows are named.
const MAX_NAMED: usize = 3;

/// Whether rows are set aside, or wait for another attempt.
pub(super) async fn check(pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    // Before the first migration, another check reports what is pending.
    let exists = "SELECT to_regclass('queue_failures') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(exists).fetch_one(db::on(pool)).await? {
        return Ok(());
    }
    let failed = queue::list_failed(pool, 1000).await?;
    let (waiting, set_aside): (Vec<_>, Vec<_>) =
        failed.iter().partition(|row| row.next_attempt_at.is_some());
    if failed.is_empty() {
        findings.add(Verdict::Ok, "queues", "No work of background jobs has failed.");
    }
    if !waiting.is_empty() {
        let count = waiting.len();
        findings.add(
            Verdict::Warning,
            "queues",
            format!(
                "{count} row(s) failed and will be retried: see `{} queue list`.",
                program::name()
            ),
        );
    }
    if !set_aside.is_empty() {
        let names: Vec<String> = set_aside
            .iter()
            .take(MAX_NAMED)
            .map(|row| format!("{} {} ({})", row.queue, row.row_id, row.last_error))
            .collect();
        findings.add(
            Verdict::Problem,
            "queues",
            format!(
                "{} row(s) failed too often and are set aside: {}. Remove the cause, then run `{program} queue retry --all`; `{program} queue list --json` says how to drop one.",
                set_aside.len(),
                names.join(", "),
                program = program::name()
            ),
        );
    }
    check_events(pool, findings).await
}

/// Whether hooks of the site failed for good.
async fn check_events(pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    let exists = "SELECT to_regclass('event_deliveries') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(exists).fetch_one(db::on(pool)).await? {
        return Ok(());
    }
    let program = program::name();
    for (hook, count, error) in events::count_failed(pool).await? {
        let text = format!(
            "{count} event(s) of the hook {hook} failed for three days ({error}). Remove the cause, then run `{program} event retry --all`; `{program} event list --state failed` shows them."
        );
        findings.add(Verdict::Problem, "events", text);
    }
    Ok(())
}
