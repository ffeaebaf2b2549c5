//! The background jobs of a session store: the invalidation listener, the last-seen updates and the purge.
//! Each process has one engine, started before the server and stopped after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use super::cache::invalidation::InvalidationListener;
use super::purge::{self, Pace};
use super::{PgSessionStore, last_seen};
use crate::background::{JobRunner, Jobs};
use crate::db;

/// The running background jobs of a [`PgSessionStore`].
pub struct Engine {
    store: PgSessionStore,
    runner: JobRunner,
    listener: Option<(Arc<InvalidationListener>, JobRunner)>,
}

impl Engine {
    /// Starts the jobs on this runtime and keeps their status in `jobs`. `listen` must connect to PostgreSQL
    /// directly, not through a pooler in transaction mode.
    pub fn start(
        store: &PgSessionStore,
        listen: PgConnectOptions,
        purge_interval: Duration,
        jobs: &Jobs,
    ) -> Self {
        let mut runner = JobRunner::new(jobs.clone());
        let flushed = store.clone();
        runner.run_every("last_seen", last_seen::FLUSH_INTERVAL, move || {
            let store = flushed.clone();
            async move { store.last_seen().flush_and_log().await }
        });
        let watched = store.clone();
        runner.run("session_watch", move |stop| watched.clone().check_watched(stop));
        let purged = store.clone();
        runner.run_every_interruptible("session_purge", purge_interval, move || {
            let store = purged.clone();
            async move { store.purge().await }
        });
        let listener = store.invalidation_listener(listen).map(|listener| {
            let listener = Arc::new(listener);
            let mut listener_runner = JobRunner::new(jobs.clone());
            let run_listener = Arc::clone(&listener);
            listener_runner.run("session_notifications", move |stop| {
                let listener = Arc::clone(&run_listener);
                async move {
                    tokio::select! {
                        () = listener.run() => {}
                        () = stop.cancelled() => {}
                    }
                }
            });
            (listener, listener_runner)
        });
        Self { store: store.clone(), runner, listener }
    }

    /// Stops the jobs, writes all pending last-seen updates and deregisters this server, over `pool`. Call it
    /// after the server has stopped, with a pool that was not used by its workers.
    pub async fn stop(self, pool: &PgPool) {
        self.runner.stop().await;
        if let Err(error) = self.store.last_seen().flush_all(pool).await {
            let what = "the last activity of some sessions could not be written";
            db::log_failure(what, &error.into());
        }
        if let Some((listener, listener_runner)) = self.listener {
            listener_runner.stop().await;
            if let Err(error) = listener.deregister(pool).await {
                let what = "this server could not be removed from session_caches";
                db::log_failure(what, &error.into());
            }
        }
    }
}

impl PgSessionStore {
    /// Runs the purge once and logs the result.
    async fn purge(&self) {
        let (started_at, mut rows) = (Instant::now(), 0);
        let run = purge::run_once(self.pool(), Pace::Gentle, |total| {
            self.purge_counters().count_rows(total - rows);
            rows = total;
        })
        .await;
        self.purge_counters().count_run(&run, started_at.elapsed());
        if rows > 0 {
            let milliseconds = started_at.elapsed().as_millis() as u64;
            tracing::info!(rows, milliseconds, "expired sessions were deleted");
        }
        if let Err(error) = run {
            let what = "expired sessions could not be deleted; trying again later";
            db::log_failure(what, &error.into());
        }
    }
}
