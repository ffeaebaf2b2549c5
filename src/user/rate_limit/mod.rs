//! Rate limits: how often an action may be attempted, by account, by IP address, by the pair of both, and by
//! known device. Owns the table `throttles`.
//!
//! An attempt is counted before its work, in one statement that locks the counters in the order of their
//! keys: concurrent requests to any number of servers get no more attempts than the limit. A refused attempt
//! writes nothing and does not extend the wait. Must never store what a client typed, and must treat accounts
//! that exist and accounts that do not the same.
//!
//! # Attempts in flight
//!
//! If an attempt counted fully from its start, many users who sign in at the same moment from one IP address
//! would reach the limit with correct passwords. So on a shared counter ([`Limit::shared`]) an attempt whose
//! outcome is unknown counts a quarter. When it fails, it counts fully, and the wait that is due then starts.
//!
//! * The row holds both numbers: `tries` has every attempt that was not refunded, `in_flight` those of them
//!   that are in flight. Servers share the row, so the limit holds over all of them.
//! * An attacker gains one burst. With `free` attempts, fewer than four times as many can be in flight. Their
//!   failures then count fully, and from the limit on an attempt starts its wait before its work, so that one
//!   attempt is in flight at a time. Accounts and pairs are never shared: no account gets more guesses.
//! * An attempt that is dropped without an outcome counts as failed ([`Permit`]), also if the client
//!   disconnects.
//! * If a server crashes, its attempts stay in `in_flight`. A row counts attempts as in flight only until 60 s
//!   after the first of them (`in_flight_since`); then all of them count fully. An attempt that ends later
//!   changes `in_flight` only if it belongs to the same 60 s. So a crash makes no attempt free, and what it
//!   leaves is forgotten like every other attempt.

mod action;
mod counters;
mod failure_notice;
mod keys;
mod limits;
mod permit;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::users::User;
use crate::audit::{self, Event, EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::db;
use crate::id::UserId;
use crate::mail::address::EmailAddress;
use crate::session::{Requester, SessionEnded};
pub use action::Action;
use counters::{By, CountError, CountOutcome, Counted, Key};
pub(super) use keys::AccountSubject;
use keys::Keys;
pub use keys::KnownDevice;
pub use limits::{Limit, Limits};
pub use permit::Permit;

/// An attempt of an action, and its subjects. [`Attempt::check`] counts it.
///
/// The counters are determined by the action and the subjects alone. So if only a later request determines
/// the success, as with a second factor, that request can build the same attempt and refund it. In addition
/// to the keys, the refund needs two values that the first request has to keep: whether the counter of the
/// known device or the others were incremented, and the number of the attempt for the IP address.
#[derive(Clone, Copy, Debug)]
#[must_use = "an attempt is counted by `check`"]
pub struct Attempt<'a> {
    action: Action,
    account: Option<&'a str>,
    ip: Option<IpAddr>,
    known_device: Option<KnownDevice>,
    requester: Option<&'a Requester>,
}

/// Why an attempt is not allowed. Nothing was counted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A wait has not expired yet.
    #[error("too many attempts")]
    TooMany {
        /// The remaining wait, at least a second.
        retry_after: Duration,
    },
    /// The session of the requester has ended.
    #[error("the session has ended")]
    SessionEnded,
    /// The counters could not be read or written.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<SessionEnded> for Refusal {
    fn from(SessionEnded: SessionEnded) -> Self {
        Self::SessionEnded
    }
}

/// Attempts that were refused since the process started, in the order of [`Action::ALL`].
static REFUSED: [AtomicU64; Action::ALL.len()] = [const { AtomicU64::new(0) }; Action::ALL.len()];

/// Maximum number of tries to count an attempt, in case of races with concurrent attempts.
const MAX_ATTEMPTS_TO_COUNT: usize = 3;
/// The outcome of an attempt that lost [`MAX_ATTEMPTS_TO_COUNT`] races.
const LOST_RACE: CountOutcome = CountOutcome::Waiting { seconds: 1.0 };

impl<'a> Attempt<'a> {
    /// An attempt of `action` without subjects. The methods below add them.
    pub fn of(action: Action) -> Self {
        Self { action, account: None, ip: None, known_device: None, requester: None }
    }

    /// Counts by the account of `email`, whether it exists or not.
    pub fn email(self, email: Option<&'a EmailAddress>) -> Self {
        self.account(email.map(EmailAddress::canonical))
    }

    /// Counts by an account: a canonical email, or the name of a pending registration.
    pub fn account(self, account: Option<&'a str>) -> Self {
        Self { account, ..self }
    }

    /// Counts by the IP address of the client.
    pub fn ip(self, ip: Option<IpAddr>) -> Self {
        Self { ip, ..self }
    }

    /// Counts by this device only, if it has signed in to the account before. When the limit of the device is
    /// used up, the other subjects are used: so an attacker with a copy of the cookie cannot lock the owner
    /// out.
    pub fn known_device(self, known_device: Option<KnownDevice>) -> Self {
        Self { known_device, ..self }
    }

    /// Counts on behalf of a session: if the session has ended, nothing is counted.
    pub fn requester(self, requester: &'a Requester) -> Self {
        Self { requester: Some(requester), ..self }
    }

    /// Counts the attempt if it is allowed. Must be called before the work, so that concurrent requests
    /// cannot exceed the limit.
    pub async fn check(self, pool: &PgPool, sealer: &Sealer) -> Result<Permit, Refusal> {
        let mut seconds = f64::INFINITY;
        let keys = Keys::new(sealer);
        let device = keys.of_device(self.action, self.known_device).map(|key| vec![key]);
        let others = keys.of(self.action, self.account, self.ip);
        for keys in device.into_iter().chain([others]) {
            match self.count(pool, keys).await? {
                CountOutcome::Counted(counted) => return Ok(self.permit(pool, counted)),
                CountOutcome::Waiting { seconds: wait } => seconds = seconds.min(wait),
            }
        }
        REFUSED[self.action as usize].fetch_add(1, Ordering::Relaxed);
        let retry_after = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Err(Refusal::TooMany { retry_after: retry_after.max(Duration::from_secs(1)) })
    }

    async fn count(&self, pool: &PgPool, keys: Vec<Key>) -> Result<CountOutcome, Refusal> {
        for _ in 0..MAX_ATTEMPTS_TO_COUNT {
            match counters::count(pool, self.requester, keys.clone()).await {
                Ok(outcome) => return Ok(outcome?),
                Err(CountError::Race) => {}
                Err(CountError::Database(error)) => return Err(error.into()),
            }
        }
        Ok(LOST_RACE)
    }

    fn permit(&self, pool: &PgPool, counted: Vec<Counted>) -> Permit {
        // The work may rotate the session secret before the attempt is refunded.
        let requester =
            self.requester.map(|requester| Requester { token_digest: None, ..requester.clone() });
        let is_settled = AtomicBool::new(false);
        Permit { pool: pool.clone(), counted, requester, is_settled }
    }
}

/// Whether the mail that `action` causes may be sent to `account` now; if so, it is counted in the caller's
/// transaction. Anyone can cause such mail, so this limit never refuses a request: the mail is sent later, or
/// is not needed because the link in the previous one is still valid.
pub(super) async fn permits_mail(
    connection: &mut PgConnection,
    sealer: &Sealer,
    action: Action,
    account: &str,
) -> sqlx::Result<bool> {
    let key = Keys::new(sealer).of_mail(action, account);
    match counters::count_in(connection, key.into_iter().collect()).await {
        Ok(CountOutcome::Counted(_)) => Ok(true),
        Ok(CountOutcome::Waiting { .. }) | Err(CountError::Race) => Ok(false),
        Err(CountError::Database(error)) => Err(error),
    }
}

/// The longest wait of the limit on mail that `action` causes, in seconds.
pub(super) fn longest_mail_wait(action: Action) -> f64 {
    Limits::of(action).mail.map_or(0.0, |limit| f64::from(limit.max_wait))
}

/// How many attempts were refused since the process started.
pub fn refused(action: Action) -> u64 {
    REFUSED[action as usize].load(Ordering::Relaxed)
}

/// Deletes every counter of an account and returns how many there were. Counters of IP addresses are kept.
pub(super) async fn delete_counters(
    connection: &mut PgConnection,
    sealer: &Sealer,
    user: UserId,
    account: &str,
) -> sqlx::Result<u64> {
    let keys = Keys::new(sealer);
    let names = Action::ALL.iter().flat_map(|action| By::ALL.map(|by| keys::name(*action, by)));
    let subjects = [keys.device_owner_subject(user), keys.account_subject(account)];
    counters::delete(connection, &names.collect::<Vec<_>>(), &subjects).await
}

/// Deletes every counter of an account and returns how many there were: for operators.
#[tracing::instrument(level = "debug", skip_all, fields(user = %user.id))]
pub async fn unlock(
    pool: &PgPool,
    sealer: &Sealer,
    user: &User,
    origin: Origin,
) -> sqlx::Result<u64> {
    let (sealer, id) = (sealer.clone(), user.id);
    let account = EmailAddress::stored(&user.email);
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let deleted = delete_counters(connection, &sealer, id, account.canonical()).await?;
            if deleted > 0 {
                let event = Event {
                    kind: EventKind::AccountUnlocked,
                    user: Some(id),
                    session: None,
                    origin: &origin,
                    details: json!({}),
                };
                audit::record(connection, event).await?;
            }
            Ok(deleted)
        })
    })
    .await
}
