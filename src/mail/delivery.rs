//! The background job that delivers the outbox. Several servers share the work. Each sends a few mails at a
//! time, outside any transaction, and records the result afterwards. If a server is killed in between, its
//! lease expires and the mail is sent again with the same Message-ID: no mail is lost, and a crash causes at
//! most one duplicate. Must never log an email, or the reply of a mail server that may contain one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Transport;
pub use super::attempt::{Counters, Mailer};
use super::attempt::{RETRY_DELAYS, deliver};
use super::outbox::{self, Lane, LeasedMail};
use crate::background::{JobRunner, Jobs, jitter};
use crate::db::{self, Batch};
use crate::peers;
use crate::program;

/// First attempts that a server makes concurrently. One that takes longer than
/// [`SLOW_AFTER`](super::attempt::SLOW_AFTER) no longer counts, so that stalled ones do not delay the others.
const NEW_IN_FLIGHT: usize = 8;
/// The maximum number of first attempts including slow ones, which bounds the connections to the mail server.
const MAX_NEW_IN_FLIGHT: usize = 24;
/// Further attempts that a server makes concurrently. They have their own capacity, because a mail that stalled
/// once usually stalls again.
const RETRIES_IN_FLIGHT: usize = 4;
/// How often [`outbox::correct_times`] and [`outbox::mark_unreadable`] run.
const CORRECTION_INTERVAL: Duration = Duration::from_secs(10);
/// How long mail is left to a server that can do more with it, after that server was last seen: it may be restarted.
const LEFT_TO_PEER_FOR: Duration = Duration::from_secs(10 * 60);
/// How long rows that make the lease fail are skipped.
const SKIP_FOR: Duration = Duration::from_secs(60);
/// A time that is wrong by less is not corrected: the mail is only late.
const TIME_TOLERANCE: Duration = Duration::from_secs(2 * 3_600);
/// How often the outbox is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The same while the database is unavailable.
const POLL_INTERVAL_AFTER_ERROR: Duration = Duration::from_secs(5);
/// How long mails in flight may take after the stop signal. A mail that is interrupted is sent by another
/// server, or after the next start.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// The running background job.
pub struct Delivery(JobRunner);

impl Delivery {
    /// Starts the job on the current runtime. Its status is kept in `jobs`.
    pub fn start(mailer: Mailer, jobs: &Jobs) -> Self {
        let mailer = Arc::new(mailer);
        let mut runner = JobRunner::new(jobs.clone());
        runner.run("mail_delivery", move |stop| run(Arc::clone(&mailer), stop));
        Self(runner)
    }

    /// Stops leasing mail and waits for mail in flight for at most 5 seconds.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

/// The attempts in flight of one lane.
struct LaneInFlight {
    lane: Lane,
    /// The maximum number in flight, slow ones included.
    max: usize,
    /// One for each attempt that is not slow.
    slots: Arc<Semaphore>,
    sending: JoinSet<()>,
    /// Which rows to lease, and since when. Its limit is that of a lane without mail in flight.
    batch: (Batch, Instant),
}

impl LaneInFlight {
    fn new(lane: Lane, slots: usize, max: usize) -> Self {
        let batch = (Batch::of(slots as i64), Instant::now());
        Self { lane, max, slots: Arc::new(Semaphore::new(slots)), sending: JoinSet::new(), batch }
    }

    /// Leases as many due mails as may be in flight, and starts to send them.
    async fn start_due(&mut self, mailer: &Arc<Mailer>) -> sqlx::Result<()> {
        let free = self.max.saturating_sub(self.sending.len()).min(self.slots.available_permits());
        if free == 0 {
            return Ok(());
        }
        for mail in self.lease(mailer, free as i64).await? {
            let slot = Arc::clone(&self.slots).try_acquire_owned().ok();
            self.sending.spawn(deliver(Arc::clone(mailer), mail, slot));
        }
        Ok(())
    }

    /// Leases up to `free` mails. A row that cannot be leased, which fails the whole statement, is skipped.
    async fn lease(&mut self, mailer: &Mailer, free: i64) -> sqlx::Result<Vec<LeasedMail>> {
        let (batch, since) = &mut self.batch;
        if since.elapsed() >= SKIP_FOR {
            (*batch, *since) = (Batch::of(batch.full()), Instant::now());
        }
        loop {
            let part = batch.at_most(free);
            let leased = outbox::lease(&mailer.pool, self.lane, mailer.sealer.key_ids(), part);
            match db::with_deadline(leased).await {
                Ok(mails) => {
                    batch.grow(mails.len() as u64);
                    return Ok(mails);
                }
                Err(error) if batch.shrink(&error) => {
                    db::log_failure("a mail cannot be leased; others are sent", &error.into());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

async fn run(mailer: Arc<Mailer>, stop: CancellationToken) {
    let mut new = LaneInFlight::new(Lane::New, NEW_IN_FLIGHT, MAX_NEW_IN_FLIGHT);
    let mut retries = LaneInFlight::new(Lane::Retry, RETRIES_IN_FLIGHT, RETRIES_IN_FLIGHT);
    let mut rounds = Rounds::default();
    loop {
        let started = rounds.start_due(&mailer, &mut new, &mut retries).await;
        let is_unavailable = started.is_err();
        if let Err(error) = started {
            db::log_failure("the outbox cannot be read; mail is delayed", &error.into());
        }
        let wait = if is_unavailable { POLL_INTERVAL_AFTER_ERROR } else { POLL_INTERVAL };
        tokio::select! {
            () = stop.cancelled() => break,
            Some(joined) = new.sending.join_next() => log_panic(joined),
            Some(joined) = retries.sending.join_next() => log_panic(joined),
            () = tokio::time::sleep(wait.mul_f64(1.0 + jitter() / 10.0)) => {}
        }
    }
    let in_flight = async {
        for lane in [&mut new, &mut retries] {
            while let Some(joined) = lane.sending.join_next().await {
                log_panic(joined);
            }
        }
    };
    if tokio::time::timeout(STOP_DEADLINE, in_flight).await.is_err() {
        tracing::info!("mail in flight is interrupted and will be sent again after the next start");
    }
}

/// What the job remembers between its rounds.
#[derive(Default)]
struct Rounds {
    /// When the outbox was last corrected.
    corrected_at: Option<Instant>,
    /// When a server was last seen that mail is left to.
    peer_seen_at: Option<Instant>,
}

impl Rounds {
    async fn start_due(
        &mut self,
        mailer: &Arc<Mailer>,
        new: &mut LaneInFlight,
        retries: &mut LaneInFlight,
    ) -> sqlx::Result<()> {
        if self.is_left_to_peer(mailer).await? {
            return Ok(());
        }
        if matches!(mailer.transport, Transport::OutboxOnly) {
            return db::with_deadline(outbox::mark_kept(&mailer.pool)).await.map(|_| ());
        }
        if self.corrected_at.is_none_or(|at| at.elapsed() >= CORRECTION_INTERVAL) {
            self.corrected_at = Some(Instant::now());
            if let Err(error) = correct(mailer).await {
                db::log_failure("the times of mail cannot be corrected", &error.into());
            }
        }
        new.start_due(mailer).await?;
        retries.start_due(mailer).await
    }

    /// Whether a server runs, or ran shortly before, that can do more with mail than this one: send it instead of
    /// writing it into files, or either instead of keeping it.
    async fn is_left_to_peer(&mut self, mailer: &Mailer) -> sqlx::Result<bool> {
        if mailer.preferred_transports.is_empty() {
            return Ok(false);
        }
        let found = peers::any_has_mail_transport(&mailer.pool, &mailer.preferred_transports);
        if db::with_deadline(found).await? {
            if self.peer_seen_at.is_none() {
                tracing::warn!(
                    "mail is left to another server of this schema, which sends it: this one has no FRONTDESK_SMTP_URL"
                );
            }
            self.peer_seen_at = Some(Instant::now());
        }
        Ok(self.peer_seen_at.is_some_and(|at| at.elapsed() < LEFT_TO_PEER_FOR))
    }
}

/// Corrects times that a wrong clock left behind, and handles mail that no running server can open.
async fn correct(mailer: &Mailer) -> sqlx::Result<()> {
    let longest = longest_waits();
    let corrected = outbox::correct_times(&mailer.pool, &longest);
    if db::with_deadline(corrected).await? > 0 {
        tracing::warn!(
            "PostgreSQL's clock was set back: mail that would have waited too long is due now"
        );
    }
    let expired = db::with_deadline(outbox::mark_expired(&mailer.pool)).await?;
    if expired > 0 {
        mailer.counters.count_failed(expired);
        tracing::warn!(
            mails = expired,
            "mail was not sent in time and is no longer useful; see `{} mail list --state failed`",
            program::name()
        );
    }
    let keys = mailer.sealer.key_ids();
    let (noted, failed) = db::with_deadline(outbox::mark_unreadable(&mailer.pool, keys)).await?;
    if noted > 0 {
        tracing::warn!(
            mails = noted,
            "mail waits for a server with its key: it is encrypted with a key that is on no running server. See `{program} mail list --state waiting`, and `{program} doctor` for the key",
            program = program::name()
        );
    }
    if failed > 0 {
        mailer.counters.count_failed(failed.unsigned_abs());
        tracing::error!(
            mails = failed,
            "mail failed because no server with its key was started for two days; see `{} mail list --state failed`",
            program::name()
        );
    }
    Ok(())
}

/// The longest time until the next attempt, after no attempt, one, and so on.
fn longest_waits() -> Vec<Duration> {
    let after_attempts = RETRY_DELAYS.iter().map(|delay| delay.mul_f64(1.2).max(TIME_TOLERANCE));
    [Duration::ZERO].into_iter().chain(after_attempts).collect()
}

fn log_panic(joined: Result<(), JoinError>) {
    if let Err(error) = joined {
        tracing::error!(%error, "sending a mail failed unexpectedly; it will be retried");
    }
}
