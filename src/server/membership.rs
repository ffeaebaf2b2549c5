//! The job that keeps the row of this server in the table `servers`, and logs when the settings of running
//! servers differ that must be the same (`peers.rs`).

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::PgPool;

use crate::app::App;
use crate::background::JobRunner;
use crate::db;
use crate::peers::{self, Difference, RunningServer};
use crate::program;

/// Records this server and logs differences before it serves, then starts the job.
pub async fn start(runner: &mut JobRunner, app: Arc<App>) {
    let reported = Arc::new(Mutex::new(Report::default()));
    run_once(&app, &reported).await;
    runner.run_every("servers", peers::INTERVAL, move || {
        let (app, reported) = (Arc::clone(&app), Arc::clone(&reported));
        async move { run_once(&app, &reported).await }
    });
}

/// Deletes the row of this server.
pub async fn stop(app: &App, pool: &PgPool) {
    if let Err(error) = db::with_deadline(app.server.remove(pool)).await {
        db::log_failure("this server could not be removed from the table servers", &error.into());
    }
}

/// What was logged last, so that it is not logged every ten seconds.
#[derive(Default)]
struct Report {
    differences: Vec<Difference>,
    is_failing: bool,
}

async fn run_once(app: &App, reported: &Mutex<Report>) {
    let listed = record_and_list(app).await;
    let mut report = reported.lock().unwrap_or_else(PoisonError::into_inner);
    let servers = match listed {
        Ok(servers) => servers,
        Err(error) => {
            // While the database is unavailable, other parts log that.
            if !report.is_failing && !db::is_unavailable(&error) {
                report.is_failing = true;
                db::log_failure(
                    &format!(
                        "the table servers cannot be written; run `{} migrate roles` after a migration",
                        program::name()
                    ),
                    &error.into(),
                );
            }
            return;
        }
    };
    report.is_failing = false;
    let settings: Vec<_> = servers.iter().map(RunningServer::settings).collect();
    let differences = peers::differences(&settings);
    if differences == report.differences {
        return;
    }
    if differences.is_empty() {
        tracing::info!(
            "all servers of this schema have the same keys, public URL and kind of mail again"
        );
    }
    for difference in differences.iter().filter(|one| !report.differences.contains(one)) {
        tracing::warn!(affects_users = difference.affects_users, "{}", difference.message);
    }
    report.differences = differences;
}

async fn record_and_list(app: &App) -> sqlx::Result<Vec<RunningServer>> {
    let state = app.sessions.cache_state().as_str();
    db::with_deadline(app.server.record(&app.pool, state)).await?;
    db::with_deadline(peers::list(&app.pool)).await
}
