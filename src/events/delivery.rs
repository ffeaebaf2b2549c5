//! The background job that calls the hooks after a commit. Several servers share the work. The hook runs outside of any
//! transaction, and the result is recorded afterwards. If a server is killed in between, its lease expires and the
//! hook is called again: no event is lost, and the hook may get one twice. Each hook has a loop and connections of its own, so
//! that a slow one does not delay the others.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{join_all, ready};
use futures_util::stream::FuturesUnordered;
use sqlx::PgPool;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::deliveries::{self, LONGEST_WAIT, Leased};
use super::registry::{AfterHook, RegisteredHooks};
use super::run::{Failure, Hooks, Parts, call};
use crate::background::{JobRunner, jitter};
use crate::db;
use crate::program;

/// How long a hook may take: less than a lease.
const LIMIT: Duration = db::SITE_HOOK_LIMIT;
/// How many events of one hook a server delivers at the same time: as many as it has connections.
const IN_FLIGHT: usize = 4;
/// How often a server looks for events.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The same while the database is unavailable.
const POLL_INTERVAL_AFTER_ERROR: Duration = Duration::from_secs(5);
/// The wait after the first failure. It doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// How long hooks that run may take after the stop signal. What is interrupted is delivered again after the next start.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Connections of the job itself.
const OWN_CONNECTIONS: u32 = 2;

impl RegisteredHooks {
    /// The most connections that a server opens for the hooks after a commit.
    pub fn connections_after_commit(&self) -> i64 {
        match self.after.len() as i64 {
            0 => 0,
            hooks => i64::from(OWN_CONNECTIONS) + hooks * i64::from(db::SITE_JOB_POOL_SIZE),
        }
    }
}

impl Hooks {
    /// Starts a job for the hooks after a commit. `pool` opens connections that find Frontdesk's tables; `site_pool` those
    /// for one hook, which find the site's. Without such a hook, nothing is started.
    pub fn start_delivery(
        &self,
        runner: &mut JobRunner,
        pool: impl FnOnce(u32) -> PgPool,
        site_pool: impl Fn() -> PgPool,
    ) {
        let Some(parts) = self.shared_parts() else { return };
        let hooks: Vec<(AfterHook, PgPool)> =
            parts.registered.after.iter().map(|hook| (hook.clone(), site_pool())).collect();
        if hooks.is_empty() {
            return;
        }
        let (hooks, pool) = (Arc::new(hooks), pool(OWN_CONNECTIONS));
        runner.run("event_delivery", move |stop| {
            let (hooks, parts, pool) = (Arc::clone(&hooks), Arc::clone(&parts), pool.clone());
            async move {
                let loops = hooks.iter().map(|(hook, site_pool)| {
                    let delivery = Delivery { hook, parts: &parts, pool: &pool, site_pool };
                    delivery.run(stop.clone())
                });
                join_all(loops).await;
            }
        });
    }
}

/// One hook.
struct Delivery<'a> {
    hook: &'a AfterHook,
    parts: &'a Parts,
    pool: &'a PgPool,
    site_pool: &'a PgPool,
}

impl Delivery<'_> {
    /// Keeps up to [`IN_FLIGHT`] calls running: a slow one leaves the other places to other events.
    async fn run(self, stop: CancellationToken) {
        let mut running = FuturesUnordered::new();
        let mut look_at = Instant::now();
        'run: loop {
            let free = IN_FLIGHT - running.len();
            let due = sleep_until(look_at);
            let lease = async {
                due.await;
                self.lease(free).await
            };
            tokio::pin!(lease);
            // Polled together with the calls, which use the same connections.
            let leased = loop {
                tokio::select! {
                    () = stop.cancelled() => break 'run,
                    leased = &mut lease, if free > 0 => break leased,
                    Some(()) = running.next() => if free == 0 {
                        continue 'run;
                    },
                }
            };
            let wait = match leased {
                Ok(leased) => {
                    // As many as there is room for: more may be due.
                    let wait = if leased.len() == free { Duration::ZERO } else { POLL_INTERVAL };
                    running.extend(leased.into_iter().map(|one| self.deliver(one)));
                    wait
                }
                Err(error) => {
                    let what = "events cannot be read; hooks of the site are delayed";
                    db::log_failure(what, &error.into());
                    POLL_INTERVAL_AFTER_ERROR
                }
            };
            look_at = Instant::now() + wait.mul_f64(1.0 + jitter() / 10.0);
        }
        timeout(STOP_DEADLINE, running.for_each(|()| ready(()))).await.ok();
    }

    /// Leases up to `limit` events that are due.
    async fn lease(&self, limit: usize) -> sqlx::Result<Vec<Leased>> {
        let AfterHook { event, registration } = self.hook;
        let keys = self.parts.sealer.key_ids();
        let hook = (*event, registration.name.as_str());
        db::with_deadline(deliveries::lease(self.pool, hook, keys, limit as i64)).await
    }

    /// Calls the hook and records the result. If that fails, the event is delivered again after its lease.
    async fn deliver(&self, leased: Leased) {
        if let Err(error) = self.attempt(&leased).await {
            db::log_failure("the result of a hook cannot be recorded", &error.into());
        }
    }

    async fn attempt(&self, leased: &Leased) -> sqlx::Result<()> {
        let AfterHook { event, registration } = self.hook;
        let (event, hook) = (event.as_str(), registration.name.as_str());
        let error = match self.call(leased).await {
            Ok(()) => {
                return db::with_deadline(deliveries::mark_delivered(self.pool, leased.id)).await;
            }
            Err(failure) => failure.to_string(),
        };
        let doublings = u32::try_from(leased.attempts - 1).unwrap_or(0).min(16);
        let wait = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
        let wait = wait.mul_f64(1.0 + jitter() / 10.0);
        let rescheduled = deliveries::reschedule(self.pool, leased, wait, &error);
        let id = leased.id;
        if db::with_deadline(rescheduled).await? {
            tracing::error!(hook, event, %id, error, "a hook of the site failed for three days and is not retried; see `{} event list --state failed`", program::name());
        } else {
            tracing::warn!(hook, event, %id, error, "a hook of the site failed and is retried later");
        }
        Ok(())
    }

    /// Calls the hook once. After a failure its connection is closed, because it may be in a transaction.
    async fn call(&self, leased: &Leased) -> Result<(), Failure> {
        let Some(details) = leased.open(&self.parts.sealer) else {
            return Err(Failure::Error("the details of the event cannot be decrypted".into()));
        };
        let connection = self.site_pool.acquire().await;
        let mut connection = connection.map_err(|error| Failure::Error(error.into()))?;
        let event = (leased.id, details);
        let (hook, mailer) = (&self.hook.registration.hook, &self.parts.mailer);
        let called = call(LIMIT, || hook.call(event, &mut connection, mailer)).await;
        if called.is_err() {
            connection.close_on_drop();
        }
        called
    }
}
