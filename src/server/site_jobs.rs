//! The periodic work of a website. Each job runs on one server at a time: the one that gets its lock.

use std::sync::Arc;

use sqlx::{Connection as _, Executor as _, PgPool};

use crate::background::JobRunner;
use crate::db;
use crate::site::{BoxError, BoxFuture, Site, SiteJob};

/// Starts the jobs of `website`. `pool` is that of its handlers.
pub(super) fn start(runner: &mut JobRunner, website: &Site, pool: &PgPool) {
    for SiteJob { name, every, run } in &website.jobs {
        let (name, run, pool) = (*name, Arc::clone(run), pool.clone());
        runner.run_every_interruptible(name, *every, move || {
            let (run, pool) = (Arc::clone(&run), pool.clone());
            async move {
                match run_alone(name, &pool, || run(pool.clone())).await {
                    Ok(()) => {}
                    Err(error) => db::log_failure(
                        &format!("the job {name} failed"),
                        &anyhow::Error::from_boxed(error),
                    ),
                }
            }
        });
    }
}

/// Runs `work` unless another server does. The lock belongs to a transaction on a connection of its own, so that it
/// ends with the connection, behind a pooler too.
async fn run_alone(
    name: &str,
    pool: &PgPool,
    work: impl FnOnce() -> BoxFuture<Result<(), BoxError>>,
) -> Result<(), BoxError> {
    let mut lock = db::connect_to_primary(&pool.connect_options()).await?;
    lock.execute("BEGIN").await?;
    let try_lock = "SELECT pg_try_advisory_xact_lock(hashtextextended('frontdesk job ' || $1, 0)),
                           set_config('idle_in_transaction_session_timeout', '0', true)";
    let (is_locked, _): (bool, String) =
        sqlx::query_as(try_lock).bind(name).fetch_one(&mut lock).await?;
    if is_locked {
        work().await?;
    }
    lock.close().await?;
    Ok(())
}
