//! The background job that delivers the outbox. Several servers share the work. Each sends a few mails at a
//! time, outside any transaction, and records the result afterwards. If a server is killed in between, its
//! lease expires and the mail is sent again with the same Message-ID: no mail is lost, and a crash causes at
//! most one duplicate. Must never log an email, or the reply of a mail server that may contain one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lettre::message::Mailbox;
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::mime::compose;
use super::outbox::{self, Lane, LeasedMail};
use super::smtp::{SendError, Stage};
use super::{MailRenderer, Transport};
use crate::background::{JobRunner, Jobs, jitter};
use crate::crypto::seal::Sealer;
use crate::db;

/// First attempts that a server makes concurrently. One that takes longer than [`SLOW_AFTER`] no longer counts,
/// so that stalled ones do not delay the others.
const NEW_IN_FLIGHT: usize = 8;
/// The maximum number of first attempts including slow ones, which bounds the connections to the mail server.
const MAX_NEW_IN_FLIGHT: usize = 24;
/// Further attempts that a server makes concurrently. They have their own capacity, because a mail that stalled
/// once usually stalls again.
const RETRIES_IN_FLIGHT: usize = 4;
/// An attempt that takes longer is slow. Most take less than a second.
const SLOW_AFTER: Duration = Duration::from_secs(4);
/// How often [`outbox::correct_times`] runs.
const CORRECTION_INTERVAL: Duration = Duration::from_secs(10);
/// A time that is wrong by less is not corrected: the mail is only late.
const TIME_TOLERANCE: Duration = Duration::from_secs(2 * 3_600);
/// How often the outbox is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The same while the database is unavailable.
const POLL_INTERVAL_AFTER_ERROR: Duration = Duration::from_secs(5);
/// How often the lease of a mail in flight is renewed: a third of [`outbox::LEASE`].
const RENEWAL_INTERVAL: Duration = Duration::from_secs(20);
/// How long mails in flight may take after the stop signal. A mail that is interrupted is sent by another
/// server, or after the next start.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// The wait after each attempt except the last: ten attempts within two days. Greylisting servers accept mail
/// after about five minutes.
const RETRY_DELAYS: [Duration; 9] = [
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(3_600),
    Duration::from_secs(3 * 3_600),
    Duration::from_secs(6 * 3_600),
    Duration::from_secs(12 * 3_600),
    Duration::from_secs(24 * 3_600),
];

/// Counters of this process since its start. Clones share them.
#[derive(Clone, Default)]
pub struct Counters(Arc<Counts>);

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    /// Mails sent.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Mails that failed permanently.
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }
}

/// The dependencies of the delivery job.
pub struct Mailer {
    /// A separate pool: a connection belongs to the runtime of the worker that opened it and fails when that
    /// worker stops.
    pub pool: PgPool,
    /// Opens the sealed messages.
    pub sealer: Sealer,
    /// Renders them.
    pub renderer: Arc<MailRenderer>,
    /// Sends them.
    pub transport: Transport,
    /// The From address.
    pub from: Mailbox,
    /// The host of the public URL, for the Message-ID.
    pub host: String,
    /// Counts sent and failed mail.
    pub counters: Counters,
}

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
}

impl LaneInFlight {
    fn new(lane: Lane, slots: usize, max: usize) -> Self {
        Self { lane, max, slots: Arc::new(Semaphore::new(slots)), sending: JoinSet::new() }
    }

    /// Leases as many due mails as may be in flight, and starts to send them.
    async fn start_due(&mut self, mailer: &Arc<Mailer>) -> sqlx::Result<()> {
        let free = self.max.saturating_sub(self.sending.len()).min(self.slots.available_permits());
        if free == 0 {
            return Ok(());
        }
        let keys = mailer.sealer.key_ids();
        let due = outbox::lease(&mailer.pool, self.lane, keys, free as i64);
        for mail in db::with_deadline(due).await? {
            let slot = Arc::clone(&self.slots).try_acquire_owned().ok();
            self.sending.spawn(deliver(Arc::clone(mailer), mail, slot));
        }
        Ok(())
    }
}

async fn run(mailer: Arc<Mailer>, stop: CancellationToken) {
    let mut new = LaneInFlight::new(Lane::New, NEW_IN_FLIGHT, MAX_NEW_IN_FLIGHT);
    let mut retries = LaneInFlight::new(Lane::Retry, RETRIES_IN_FLIGHT, RETRIES_IN_FLIGHT);
    let mut corrected_at: Option<Instant> = None;
    loop {
        let started = start_due(&mailer, &mut new, &mut retries, &mut corrected_at).await;
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

async fn start_due(
    mailer: &Arc<Mailer>,
    new: &mut LaneInFlight,
    retries: &mut LaneInFlight,
    corrected_at: &mut Option<Instant>,
) -> sqlx::Result<()> {
    if matches!(mailer.transport, Transport::OutboxOnly) {
        return db::with_deadline(outbox::mark_kept(&mailer.pool)).await.map(|_| ());
    }
    if corrected_at.is_none_or(|at| at.elapsed() >= CORRECTION_INTERVAL) {
        let longest = longest_waits();
        let corrected = outbox::correct_times(&mailer.pool, &longest);
        if db::with_deadline(corrected).await? > 0 {
            tracing::warn!(
                "PostgreSQL's clock was set back: mail that would have waited too long is due now"
            );
        }
        *corrected_at = Some(Instant::now());
    }
    new.start_due(mailer).await?;
    retries.start_due(mailer).await
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

/// Sends one mail and records the result. Releases `slot` when the attempt turns out to be slow.
async fn deliver(mailer: Arc<Mailer>, mail: LeasedMail, slot: Option<OwnedSemaphorePermit>) {
    let sending = send_with_lease(&mailer, &mail);
    tokio::pin!(sending);
    let sent = match tokio::time::timeout(SLOW_AFTER, &mut sending).await {
        Ok(sent) => sent,
        Err(_) => {
            drop(slot);
            sending.await
        }
    };
    match sent {
        Ok(()) => {
            mailer.counters.0.sent.fetch_add(1, Ordering::Relaxed);
            let (kind, attempt) = (mail.kind.as_str(), mail.attempts);
            tracing::info!(mail = %mail.id, kind, attempt, "mail is sent");
            record(|| outbox::mark_sent(&mailer.pool, mail.id)).await;
        }
        Err(error) => record_failure(&mailer, &mail, &error).await,
    }
}

/// Sends one mail, renewing its lease until the attempt ends.
async fn send_with_lease(mailer: &Mailer, mail: &LeasedMail) -> Result<(), SendError> {
    let sending = send(mailer, mail);
    tokio::pin!(sending);
    let mut renewal = tokio::time::interval(RENEWAL_INTERVAL);
    renewal.tick().await;
    loop {
        tokio::select! {
            sent = &mut sending => return sent,
            _ = renewal.tick() => {
                if let Err(error) = db::with_deadline(outbox::renew_lease(&mailer.pool, mail)).await {
                    let what = format!("the lease of the mail {} could not be renewed", mail.id);
                    db::log_failure(&what, &error.into());
                }
            }
        }
    }
}

/// Reschedules the mail, or marks it as failed if the error is permanent or this was the last attempt.
async fn record_failure(mailer: &Mailer, mail: &LeasedMail, error: &SendError) {
    let SendError { is_permanent, stage, code, message } = error;
    let (id, kind, attempt) = (mail.id, mail.kind.as_str(), mail.attempts);
    // A local connection error contains no user data. A server reply may contain the recipient.
    let detail = match stage {
        Stage::Connection | Stage::Encryption if code.is_none() => message.as_str(),
        _ => "",
    };
    let wait = RETRY_DELAYS.get(usize::try_from(attempt - 1).unwrap_or(usize::MAX));
    let Some(wait) = wait.filter(|_| !is_permanent) else {
        mailer.counters.0.failed.fetch_add(1, Ordering::Relaxed);
        tracing::error!(mail = %id, kind, attempt, ?stage, code, detail, "mail failed permanently; see `frontdesk mail list --state failed`");
        return record(|| outbox::mark_failed(&mailer.pool, mail, message)).await;
    };
    let wait = wait.mul_f64(0.8 + 0.4 * jitter());
    tracing::warn!(mail = %id, kind, attempt, ?stage, code, detail, "mail is delayed");
    record(|| outbox::reschedule(&mailer.pool, mail, wait, message)).await;
}

async fn send(mailer: &Mailer, mail: &LeasedMail) -> Result<(), SendError> {
    let permanent = |message: &str| SendError {
        is_permanent: true,
        stage: Stage::Content,
        code: None,
        message: message.to_owned(),
    };
    // Reached only after repeated crashes, each of which started an attempt and recorded no result.
    if usize::try_from(mail.attempts).unwrap_or(usize::MAX) > RETRY_DELAYS.len() + 1 {
        return Err(permanent("the last attempts did not finish"));
    }
    let sealed = mail.sealed.as_deref().ok_or_else(|| permanent("its content was deleted"))?;
    let message = outbox::open(&mailer.sealer, mail.id, sealed).ok_or_else(|| {
        let error =
            "it was encrypted with a key that is not in FRONTDESK_SECRET_KEYS of this server";
        // Another server may have the key.
        let is_permanent = OffsetDateTime::now_utc() - mail.created_at >= outbox::UNREADABLE_FOR;
        SendError { is_permanent, ..permanent(error) }
    })?;
    let rendered =
        mailer.renderer.render(&message).map_err(|error| permanent(&format!("{error:#}")))?;
    let (from, host) = (&mailer.from, mailer.host.as_str());
    let composed = compose(mail.id, mail.created_at, from, &mail.recipient, host, &rendered)
        .map_err(|error| permanent(&error.to_string()))?;
    mailer.transport.send(mail.id, &composed).await.map_err(|mut error| {
        error.message = redacted(&error.message, &message.secrets());
        error
    })
}

/// Removes secrets from a server reply, which may quote the mail. A line break may have split a token, so
/// parts of a token are removed too.
fn redacted(reply: &str, secrets: &[&str]) -> String {
    /// Shorter parts of a token are useless to an attacker.
    const MIN_LENGTH: usize = 8;
    let mut clean = reply.to_owned();
    for secret in secrets {
        clean = clean.replace(secret, "…");
    }
    let is_token_character =
        |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    let words: Vec<String> = clean
        .split(|character| !is_token_character(character))
        .filter(|word| {
            word.len() >= MIN_LENGTH && secrets.iter().any(|secret| secret.contains(word))
        })
        .map(str::to_owned)
        .collect();
    words.iter().fold(clean, |clean, word| clean.replace(word.as_str(), "…"))
}

/// Runs `update`, which records the result of an attempt, and repeats it while the database is unavailable: a
/// mail whose result is not recorded is sent twice.
async fn record<F: Future<Output = sqlx::Result<()>>>(mut update: impl FnMut() -> F) {
    while let Err(error) = db::with_deadline(update()).await {
        if !db::is_unavailable(&error) {
            let error = db::explain(&error.into());
            tracing::error!(
                error,
                "the delivery status of a mail cannot be written; it may be sent twice"
            );
            return;
        }
        let what = "the delivery status of a mail could not be written; retrying";
        db::log_failure(what, &error.into());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_server_reply_are_redacted() {
        let secrets = ["Zx8Kq2nVb5Lw1Rt7Ym4Pc9Hd3Jf6Gs0AeUiOoTnXkRl", "407318"];
        for (reply, clean) in [
            ("550 no such user", "550 no such user"),
            ("554 http://a/Zx8Kq2nVb5Lw1Rt7Ym4Pc9Hd3Jf6Gs0AeUiOoTnXkRl bad", "554 http://a/… bad"),
            ("554 http://a/Zx8Kq2nVb5Lw1Rt7Ym4= bad", "554 http://a/…= bad"),
            ("554 code 407318 bad", "554 code … bad"),
        ] {
            assert_eq!(redacted(reply, &secrets), clean);
        }
    }

    #[test]
    fn ten_attempts_take_about_two_days() {
        let hours = RETRY_DELAYS.iter().sum::<Duration>().as_secs() / 3_600;
        assert_eq!(RETRY_DELAYS.len() + 1, 10);
        assert!((44..=50).contains(&hours), "{hours}");
        assert!(RETRY_DELAYS.is_sorted());
    }
}
