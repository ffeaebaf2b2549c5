//! What goes on beside requests: the feed that keeps the cache honest, the writing of activity, the purge. One a
//! process, started before the server and stopped after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use super::cache::invalidation::InvalidationListener;
use super::purge::{self, Pace};
use super::{PgSessionStore, last_seen};
use crate::background::{JobRunner, Jobs};

/// The running loops of a [`PgSessionStore`].
pub struct Engine {
    store: PgSessionStore,
    loops: JobRunner,
    feed: Option<(Arc<InvalidationListener>, JobRunner)>,
}

impl Engine {
    /// Starts them on this runtime. `listen` leads to PostgreSQL itself, not through a pooler in transaction
    /// mode. Their status is kept in `jobs`.
    pub fn start(
        store: &PgSessionStore,
        listen: PgConnectOptions,
        purge_every: Duration,
        jobs: &Jobs,
    ) -> Self {
        let mut loops = JobRunner::new(jobs.clone());
        let touched = store.clone();
        loops.run_every("last_seen", last_seen::FLUSH_EVERY, move || {
            let store = touched.clone();
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
        let feed = store.feed(listen).map(|feed| {
            let feed = Arc::new(feed);
            let mut listening = JobRunner::new(jobs.clone());
            let listener = Arc::clone(&feed);
            listening.run("session_notifications", move |stop| {
                let listener = Arc::clone(&listener);
                async move {
                    tokio::select! {
                        () = listener.run() => {}
                        () = stop.cancelled() => {}
                    }
                }
            });
            (feed, listening)
        });
        Self { store: store.clone(), loops, feed }
    }

    /// Ends them and writes what is still to be written, over `pool`, whose connections must not belong to
    /// workers that have stopped. Only after the server has stopped.
    pub async fn stop(self, pool: &PgPool) {
        self.loops.stop().await;
        if let Err(error) = self.store.last_seen().flush_all(pool).await {
            tracing::warn!(%error, "the last activity of some sessions could not be written");
        }
        if let Some((feed, listening)) = self.feed {
            listening.stop().await;
            if let Err(error) = feed.leave(pool).await {
                tracing::warn!(%error, "this server could not take itself off the list of caches");
            }
        }
    }
}

impl PgSessionStore {
    /// One round of the purge, told to the log.
    async fn purge(&self) {
        let (began, mut rows) = (Instant::now(), 0);
        let run = purge::run_once(self.pool(), Pace::Gentle, |sum| {
            self.purge_counters().count_rows(sum - rows);
            rows = sum;
        })
        .await;
        self.purge_counters().count_run(&run, began.elapsed());
        if rows > 0 {
            let milliseconds = began.elapsed().as_millis() as u64;
            tracing::info!(rows, milliseconds, "expired sessions are deleted");
        }
        if let Err(error) = run {
            tracing::warn!(%error, "expired sessions could not be deleted; trying again later");
        }
    }
}
