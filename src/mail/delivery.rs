//! The loop that empties the outbox. Several servers share the work; each sends a few mails at a time, outside any
//! transaction, and says afterwards what became of them. Killed in between, it leaves a lease that runs out, and the
//! mail goes a second time with the same Message-ID: never lost, at most one duplicate for a crash. Must never log an
//! address, or what a mail server says of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lettre::message::Mailbox;
use sqlx::PgPool;
use tokio::task::JoinSet;

use super::mime::compose;
use super::outbox::{self, LeasedMail};
use super::smtp::{Failure, Stage};
use super::{MailRenderer, Transport};
use crate::background::{Jobs, Loops, StopSignal, jitter};
use crate::crypto::seal::Sealer;
use crate::db;

/// Mails in flight at a time, for each server: some may stall without holding up the rest.
const LANES: usize = 8;
/// How soon a new mail is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The same while the database is away.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A third of the lease.
const RENEW_EVERY: Duration = Duration::from_secs(20);
/// How long mails in flight may take once we are told to stop. What is cut off is sent by another server, or at the
/// next start.
const GRACE: Duration = Duration::from_secs(5);
/// After each attempt but the last: ten attempts over two days. Greylisting wants five minutes or so.
const WAITS: [Duration; 9] = [
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

/// What this server did since it began.
#[derive(Clone, Default)]
pub struct Counters(Arc<(AtomicU64, AtomicU64)>);

impl Counters {
    /// Mails sent.
    pub fn sent(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    /// Mails given up.
    pub fn failed(&self) -> u64 {
        self.0.1.load(Ordering::Relaxed)
    }
}

/// What is needed to send.
pub struct Mailer {
    /// Connections of its own, that no worker of the site drives.
    pub pool: PgPool,
    /// Opens messages.
    pub sealer: Sealer,
    /// Writes them.
    pub renderer: Arc<MailRenderer>,
    /// Lets them go.
    pub transport: Transport,
    /// Who they are from.
    pub from: Mailbox,
    /// The host of the public URL.
    pub host: String,
    /// Counts them.
    pub counters: Counters,
}

/// The running loop.
pub struct Delivery(Loops);

impl Delivery {
    /// Starts it on this runtime. Its status is kept in `jobs`.
    pub fn start(mailer: Mailer, jobs: &Jobs) -> Self {
        let mailer = Arc::new(mailer);
        let mut loops = Loops::new(jobs.clone());
        loops.run("mail_delivery", move |stop| run(Arc::clone(&mailer), stop));
        Self(loops)
    }

    /// Takes no more mail, lets what is in flight arrive for some seconds, and returns whatever the mail server does.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

async fn run(mailer: Arc<Mailer>, mut stop: StopSignal) {
    let mut sending = JoinSet::new();
    let mut is_away = false;
    loop {
        match take(&mailer, &mut sending).await {
            Ok(()) => is_away = false,
            Err(error) => {
                if !is_away {
                    tracing::warn!(%error, "the outbox cannot be read; mail is delayed");
                }
                is_away = true;
            }
        }
        let wait = if is_away { LOOK_AGAIN } else { LOOK_EVERY };
        tokio::select! {
            () = stop.received() => break,
            Some(done) = sending.join_next() => note(done),
            () = tokio::time::sleep(wait.mul_f64(1.0 + jitter() / 10.0)) => {}
        }
    }
    let arrived = async {
        while let Some(done) = sending.join_next().await {
            note(done);
        }
    };
    if tokio::time::timeout(GRACE, arrived).await.is_err() {
        tracing::info!("mail in flight is interrupted and will be sent again after the next start");
    }
}

/// Takes as many mails as there are lanes free.
async fn take(mailer: &Arc<Mailer>, sending: &mut JoinSet<()>) -> sqlx::Result<()> {
    if matches!(mailer.transport, Transport::Kept) {
        return db::with_deadline(outbox::mark_kept(&mailer.pool)).await.map(|_| ());
    }
    let free = LANES.saturating_sub(sending.len());
    if free > 0 {
        for leased in db::with_deadline(outbox::lease(&mailer.pool, free as i64)).await? {
            sending.spawn(deliver(Arc::clone(mailer), leased));
        }
    }
    Ok(())
}

fn note(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done {
        tracing::error!(%error, "sending a mail failed unexpectedly; it will be retried");
    }
}

/// Sends one mail and says what became of it.
async fn deliver(mailer: Arc<Mailer>, leased: LeasedMail) {
    let sending = send(&mailer, &leased);
    tokio::pin!(sending);
    let mut renewal = tokio::time::interval(RENEW_EVERY);
    renewal.tick().await;
    let sent = loop {
        tokio::select! {
            sent = &mut sending => break sent,
            _ = renewal.tick() => {
                if let Err(error) = db::with_deadline(outbox::renew_lease(&mailer.pool, &leased)).await {
                    tracing::warn!(%error, mail = %leased.id, "the lease of a mail could not be renewed");
                }
            }
        }
    };
    let (id, kind, attempt) = (leased.id, leased.kind.as_str(), leased.attempts);
    match sent {
        Ok(()) => {
            mailer.counters.0.0.fetch_add(1, Ordering::Relaxed);
            tracing::info!(mail = %id, kind, attempt, "mail is sent");
            retry_once(|| outbox::mark_sent(&mailer.pool, id)).await;
        }
        Err(Failure { is_permanent, stage, code, said }) => {
            let wait = WAITS.get(usize::try_from(attempt - 1).unwrap_or(usize::MAX));
            // What is said about the connection names nobody; the rest may name the recipient.
            let about = match stage {
                Stage::Connection | Stage::Encryption if code.is_none() => said.as_str(),
                _ => "",
            };
            match wait.filter(|_| !is_permanent) {
                Some(wait) => {
                    let wait = wait.mul_f64(0.8 + 0.4 * jitter());
                    tracing::warn!(mail = %id, kind, attempt, ?stage, code, about, "mail is delayed");
                    retry_once(|| outbox::reschedule(&mailer.pool, &leased, wait, &said)).await;
                }
                None => {
                    mailer.counters.0.1.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(mail = %id, kind, attempt, ?stage, code, about, "mail failed permanently; see `frontdesk mail list --state failed`");
                    retry_once(|| outbox::mark_failed(&mailer.pool, &leased, &said)).await;
                }
            }
        }
    }
}

async fn send(mailer: &Mailer, leased: &LeasedMail) -> Result<(), Failure> {
    let never = |said: &str| Failure {
        is_permanent: true,
        stage: Stage::Content,
        code: None,
        said: said.to_owned(),
    };
    // Only crashes bring it here: each began an attempt and left no word.
    if usize::try_from(leased.attempts).unwrap_or(usize::MAX) > WAITS.len() + 1 {
        return Err(never("the last attempts did not finish"));
    }
    let sealed = leased.sealed.as_deref().ok_or_else(|| never("its content was deleted"))?;
    let message = outbox::open(&mailer.sealer, leased.id, sealed).ok_or_else(|| {
        never("it was encrypted with a key that is no longer in FRONTDESK_SECRET_KEYS")
    })?;
    let letter = mailer.renderer.render(&message).map_err(|error| never(&format!("{error:#}")))?;
    let (from, host) = (&mailer.from, mailer.host.as_str());
    let mail = compose(leased.id, leased.created_at, from, &leased.recipient, host, &letter)
        .map_err(|error| never(&error.to_string()))?;
    mailer.transport.send(leased.id, &mail).await.map_err(|mut failure| {
        failure.said = without(&failure.said, &message.secrets());
        failure
    })
}

/// What a server said, without what opens something: it may repeat what it read, or the half that was on one line.
fn without(said: &str, secrets: &[&str]) -> String {
    /// Shorter pieces of a link lead nowhere.
    const PIECE: usize = 8;
    let mut clean = said.to_owned();
    for secret in secrets {
        clean = clean.replace(secret, "…");
    }
    let is_of_a_word = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let words: Vec<String> = clean
        .split(|letter| !is_of_a_word(letter))
        .filter(|word| word.len() >= PIECE && secrets.iter().any(|secret| secret.contains(word)))
        .map(str::to_owned)
        .collect();
    words.iter().fold(clean, |clean, word| clean.replace(word.as_str(), "…"))
}

/// Says what became of a mail, and again while the database is away: what is not said is sent twice.
async fn retry_once<F: Future<Output = sqlx::Result<()>>>(mut say: impl FnMut() -> F) {
    while let Err(error) = db::with_deadline(say()).await {
        if !db::is_unavailable(&error) {
            tracing::error!(%error, "the delivery status of a mail cannot be written; it may be sent twice");
            return;
        }
        tracing::warn!(%error, "the delivery status of a mail could not be written; retrying");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_repeats_is_taken_out() {
        let secrets = ["Zx8Kq2nVb5Lw1Rt7Ym4Pc9Hd3Jf6Gs0AeUiOoTnXkRl", "407318"];
        for (said, clean) in [
            ("550 no such user", "550 no such user"),
            ("554 http://a/Zx8Kq2nVb5Lw1Rt7Ym4Pc9Hd3Jf6Gs0AeUiOoTnXkRl bad", "554 http://a/… bad"),
            ("554 http://a/Zx8Kq2nVb5Lw1Rt7Ym4= bad", "554 http://a/…= bad"),
            ("554 code 407318 bad", "554 code … bad"),
        ] {
            assert_eq!(without(said, &secrets), clean);
        }
    }

    #[test]
    fn ten_attempts_take_about_two_days() {
        let hours = WAITS.iter().sum::<Duration>().as_secs() / 3_600;
        assert_eq!(WAITS.len() + 1, 10);
        assert!((44..=50).contains(&hours), "{hours}");
        assert!(WAITS.is_sorted());
    }
}
