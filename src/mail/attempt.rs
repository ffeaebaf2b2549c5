//! One attempt to send a mail: decrypt the message, render it, encode it, hand it over, and record the result. Must
//! never log an email, or the reply of a mail server that may contain one.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::OwnedSemaphorePermit;

use super::mime::{Sender, compose};
use super::outbox::{self, LeasedMail};
use super::send_error::{SendError, Stage};
use super::severity::Severity;
use super::{MailRenderer, Transport, suppression};
use crate::background::jitter;
use crate::crypto::seal::Sealer;
use crate::db;
use crate::program;

/// An attempt that takes longer is slow. Most take less than a second.
pub(super) const SLOW_AFTER: Duration = Duration::from_secs(4);
/// How often the lease of a mail in flight is renewed: a third of [`outbox::LEASE`].
const RENEWAL_INTERVAL: Duration = Duration::from_secs(20);
/// The wait after each attempt except the last: ten attempts within two days. Greylisting servers accept mail
/// after about five minutes.
pub(super) const RETRY_DELAYS: [Duration; 9] = [
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

/// The number of attempts.
const MAX_ATTEMPTS: usize = RETRY_DELAYS.len() + 1;

/// Counters of this process since its start. Clones share them.
#[derive(Clone, Default)]
pub struct Counters(Arc<Counts>);

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    /// Counts mails that failed permanently.
    pub(super) fn count_failed(&self, mails: u64) {
        self.0.failed.fetch_add(mails, Ordering::Relaxed);
    }

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
    /// The transports of the servers that this one leaves mail to
    /// ([`MailTransport::preferred_transports`](crate::config::MailTransport::preferred_transports)).
    pub preferred_transports: Vec<String>,
    /// Who sends them.
    pub sender: Sender,
    /// Counts sent and failed mail.
    pub counters: Counters,
}

/// Sends one mail and records the result. Releases `slot` when the attempt turns out to be slow.
pub(super) async fn deliver(
    mailer: Arc<Mailer>,
    mail: LeasedMail,
    slot: Option<OwnedSemaphorePermit>,
) {
    if mail.is_suppressed {
        return record_suppressed(&mailer, &mail).await;
    }
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

/// Reschedules the mail, or marks it as failed if the error is permanent or this was the last attempt. Remembers a
/// recipient that does not exist.
async fn record_failure(mailer: &Mailer, mail: &LeasedMail, error: &SendError) {
    let SendError { severity, stage, code, message } = error;
    let (id, kind, attempt) = (mail.id, mail.kind.as_str(), mail.attempts);
    // A local connection error contains no user data. A server reply may contain the recipient.
    let detail = match stage {
        Stage::Connection | Stage::Encryption if code.is_none() => message.as_str(),
        _ => "",
    };
    let wait = RETRY_DELAYS.get(usize::try_from(attempt - 1).unwrap_or(usize::MAX));
    let Some(wait) = wait.filter(|_| *severity == Severity::Transient) else {
        mailer.counters.count_failed(1);
        tracing::error!(mail = %id, kind, attempt, ?stage, code, detail, "mail failed permanently; see `{} mail list --state failed`", program::name());
        if *severity == Severity::Bounced {
            record(|| suppression::record_bounce(&mailer.pool, id)).await;
        }
        return record(|| outbox::mark_failed(&mailer.pool, mail, message)).await;
    };
    let wait = wait.mul_f64(0.8 + 0.4 * jitter());
    tracing::warn!(mail = %id, kind, attempt, ?stage, code, detail, "mail is delayed");
    record(|| outbox::reschedule(&mailer.pool, mail, wait, message)).await;
}

/// Marks a mail as failed that must not be sent.
async fn record_suppressed(mailer: &Mailer, mail: &LeasedMail) {
    tracing::info!(mail = %mail.id, kind = mail.kind.as_str(), "mail is not sent: its recipient is suppressed");
    let message = format!(
        "not sent: the recipient is suppressed; see `{} mail list --suppressed`",
        program::name()
    );
    record(|| outbox::mark_failed(&mailer.pool, mail, &message)).await;
}

/// Sends one mail. Secrets in the server's reply are redacted.
async fn send(mailer: &Mailer, mail: &LeasedMail) -> Result<(), SendError> {
    let permanent = |message: &str| SendError {
        severity: Severity::Permanent,
        stage: Stage::Content,
        code: None,
        message: message.to_owned(),
    };
    // Reached only after repeated crashes, each of which started an attempt and recorded no result.
    if usize::try_from(mail.attempts).unwrap_or(usize::MAX) > MAX_ATTEMPTS {
        return Err(permanent("the last attempts did not finish"));
    }
    let sealed = mail.sealed.as_deref().ok_or_else(|| permanent("its content was deleted"))?;
    // Another server may have the key, if the row does not name it (`sealed_with`).
    let message = outbox::open(&mailer.sealer, mail.id, sealed).ok_or_else(|| SendError {
        severity: Severity::Transient,
        ..permanent("it cannot be decrypted with the keys in FRONTDESK_SECRET_KEYS of this server")
    })?;
    let rendered = mailer
        .renderer
        .render_combined(&message, &mail.language, mail.combined.unwrap_or(1))
        .map_err(|error| permanent(&format!("{error:#}")))?;
    let sender = &mailer.sender;
    let composed = compose(mail.id, mail.created_at, sender, &mail.recipient, &rendered)
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
