//! The periodic work of a website. Each job runs on one server at a time: the one that gets its lock.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use sqlx::{Connection as _, Executor as _, PgPool};

use super::metrics::JobMetrics;
use crate::background::JobRunner;
use crate::db;
use crate::events::Mailer;
use crate::site::{BoxError, Site, SiteJob};

/// Starts the jobs of `website`. `pool` is for their work.
pub(super) fn start(
    runner: &mut JobRunner,
    website: &Site,
    (pool, mailer): (&PgPool, &Mailer),
    metrics: &JobMetrics,
) {
    for SiteJob { name, every, run, .. } in &website.jobs {
        let (name, run) = (*name, Arc::clone(run));
        let (pool, mailer, metrics) = (pool.clone(), mailer.clone(), metrics.clone());
        runner.run_every_interruptible(name, *every, move || {
            let (run, pool) = (Arc::clone(&run), pool.clone());
            let (mailer, metrics) = (mailer.clone(), metrics.clone());
            async move { run_once(name, &pool, &metrics, || run(pool.clone(), mailer)).await }
        });
    }
}

/// Runs `work` unless another server does, and counts and logs the result.
async fn run_once<R>(
    name: &'static str,
    pool: &PgPool,
    metrics: &JobMetrics,
    work: impl FnOnce() -> R,
) where
    R: Future<Output = Result<(), BoxError>>,
{
    let started_at = Instant::now();
    // The panic hook logs the panic itself.
    let work = async { AssertUnwindSafe(async { work().await }).catch_unwind().await };
    let (result, error) = match run_alone(name, pool, work).await {
        Ok(None) => return,
        Ok(Some(Ok(Ok(())))) => ("ok", None),
        Ok(Some(Ok(Err(error)))) => ("error", Some(anyhow::Error::from_boxed(error))),
        Ok(Some(Err(_))) => ("panic", Some(anyhow::anyhow!("it panicked"))),
        Err(error) => ("error", Some(error)),
    };
    metrics.count(name, result, started_at);
    if let Some(error) = error {
        db::log_failure(&format!("the job {name} failed"), &error);
    }
}

/// The output of `work`; `None` if another server does this work. The lock belongs to a transaction on a connection
/// of its own, so that it ends with the connection, behind a pooler too. Its key contains the search path: another
/// site may be in another schema of the same database.
async fn run_alone<T>(
    name: &str,
    pool: &PgPool,
    work: impl Future<Output = T>,
) -> anyhow::Result<Option<T>> {
    let mut lock = db::connect_to_primary(&pool.connect_options()).await?;
    lock.execute("BEGIN").await?;
    let try_lock = "SELECT pg_try_advisory_xact_lock(hashtextextended(
                               concat_ws(' ', 'frontdesk job', current_setting('search_path'), $1::text), 0)),
                           set_config('idle_in_transaction_session_timeout', '0', true)";
    let (is_locked, _): (bool, String) =
        sqlx::query_as(try_lock).bind(name).fetch_one(&mut lock).await?;
    let output = if is_locked { Some(work.await) } else { None };
    // The work is done, even if the connection was lost meanwhile.
    lock.close().await.ok();
    Ok(output)
}
