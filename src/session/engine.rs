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

/// The running background jobs of a [`PgSessionStore`].
pub struct Engine {
    store: PgSessionStore,
    loops: JobRunner,
    listener: Option<(Arc<InvalidationListener>, JobRunner)>,
}

impl Engine {
    /// Starts the jobs on this runtime and keeps their status in `jobs`. `listen` must lead to PostgreSQL
    /// itself, not to a pooler in transaction mode.
    pub fn start(
        store: &PgSessionStore,
        listen: PgConnectOptions,
        purge_every: Duration,
        jobs: &Jobs,
    ) -> Self {
        let mut loops = JobRunner::new(jobs.clone());
        let flushed = store.clone();
        loops.run_every("last_seen", last_seen::FLUSH_EVERY, move || {
            let store = flushed.clone();
            async move {
                if let Err(error) = store.last_seen().flush().await {
                    tracing::warn!(%error, "last activity could not be written; it stays in memory");
                }
            }
        });
        let purged = store.clone();
        loops.run_every_interruptible("session_purge", purge_every, move || {
            let store = purged.clone();
            async move { store.purge().await }
        });
        let listener = store.invalidation_listener(listen).map(|listener| {
            let listener = Arc::new(listener);
            let mut listening = JobRunner::new(jobs.clone());
            let run_listener = Arc::clone(&listener);
            listening.run("session_notifications", move |stop| {
                let listener = Arc::clone(&run_listener);
                async move {
                    tokio::select! {
                        () = listener.run() => {}
                        () = stop.cancelled() => {}
                    }
                }
            });
            (listener, listening)
        });
        Self { store: store.clone(), loops, listener }
    }

    /// Stops the jobs, writes all pending last-seen updates and deregisters this server, over `pool`. The
    /// connections of `pool` must not belong to workers that have stopped. Call it after the server has
    /// stopped.
    pub async fn stop(self, pool: &PgPool) {
        self.loops.stop().await;
        if let Err(error) = self.store.last_seen().flush_all(pool).await {
            tracing::warn!(%error, "the last activity of some sessions could not be written");
        }
        if let Some((listener, listening)) = self.listener {
            listening.stop().await;
            if let Err(error) = listener.deregister(pool).await {
                tracing::warn!(%error, "this server could not be removed from session_caches");
            }
        }
    }
}

impl PgSessionStore {
    /// Runs the purge once and logs the result.
    async fn purge(&self) {
        let (began, mut rows) = (Instant::now(), 0);
        let run = purge::run_once(self.pool(), Pace::Gentle, |total| {
            self.purge_counters().count_rows(total - rows);
            rows = total;
        })
        .await;
        self.purge_counters().count_run(&run, began.elapsed());
        if rows > 0 {
            let milliseconds = began.elapsed().as_millis() as u64;
            tracing::info!(rows, milliseconds, "expired sessions were deleted");
        }
        if let Err(error) = run {
            tracing::warn!(%error, "expired sessions could not be deleted; trying again later");
        }
    }
}
