//! An attempt that is allowed, from its start until its outcome is counted.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use sqlx::PgPool;

use super::counters::{self, By, Counted};
use super::failure_notice;
use crate::audit::{self, Event, EventKind, Origin, RefusalReason};
use crate::crypto::seal::Sealer;
use crate::db;
use crate::id::UserId;
use crate::mail::address::EmailAddress;
use crate::session::{Lock, Requester};
use crate::user::users;

/// The attempts that [`Permit::record_refusal`] records, besides those that start a wait.
const RECORDED_ATTEMPTS: [i32; 2] = [1, 5];

/// An attempt that was counted and is allowed.
///
/// It stays counted unless it is refunded: by [`Permit::refund`] after a success, or by
/// [`Permit::refund_on_error`] if the work fails before it has an outcome. A dropped permit stays counted,
/// on purpose: the permit is dropped when a client disconnects while its password is hashed. If that refunded
/// the attempt, a client could use up CPU time without a limit. A dropped permit also ends the time in which
/// its attempt counts as in flight.
#[derive(Debug)]
#[must_use = "the attempt stays counted, also if an error ends the work"]
pub struct Permit {
    pub(super) pool: PgPool,
    pub(super) counted: Vec<Counted>,
    /// The session on whose behalf the attempt was counted, if any. Nothing is refunded after that session
    /// has ended.
    pub(super) requester: Option<Requester>,
    /// The attempt is no longer in flight.
    pub(super) is_settled: AtomicBool,
}

impl Permit {
    /// The attempt succeeded. Deletes the counters of the account (from everywhere, and from this IP address)
    /// or of the known device. For the IP address, only this attempt is refunded, because the others may have
    /// been for other accounts.
    pub async fn refund(self) -> sqlx::Result<()> {
        self.refund_counters(|by| by != By::Ip).await
    }

    /// Waits for `work`. If it fails, this attempt is refunded to every counter: an overloaded server or a
    /// database error does not count against the user. `work` must end before the result of the comparison is
    /// handled, so that an attempt with a wrong password or code always stays counted.
    pub async fn refund_on_error<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let result = work.await;
        // Before the error response is sent, not in a separate task: a server that stops waits for its
        // requests.
        if result.is_err()
            && let Err(error) = self.refund_counters(|_| false).await
        {
            tracing::debug!(%error, "an attempt that failed stays counted");
        }
        result
    }

    async fn refund_counters(&self, resets: fn(By) -> bool) -> sqlx::Result<()> {
        let is_refunded = match &self.requester {
            None => {
                counters::refund(&self.pool, &self.counted, resets).await?;
                true
            }
            Some(requester) => {
                let counted = self.counted.clone();
                let refund = requester.transaction(&self.pool, Lock::Session, move |connection| {
                    Box::pin(async move { counters::refund(connection, &counted, resets).await })
                });
                refund.await?.is_ok()
            }
        };
        self.is_settled.fetch_or(is_refunded, Ordering::Relaxed);
        Ok(())
    }

    /// Counts a failed sign-in fully. If it started a wait, records it in the audit log and notifies the owner
    /// of the account by mail: once for each wait and not for each attempt, so that an attacker cannot fill the
    /// log. A wait of an IP address concerns no single account, and is not mailed.
    pub async fn record_failure(
        &self,
        sealer: &Sealer,
        email: Option<&EmailAddress>,
        origin: &Origin,
    ) -> sqlx::Result<()> {
        let counted = self.settle().await?;
        let longest = counted.iter().max_by(|one, other| one.wait.total_cmp(&other.wait));
        let Some(longest) = longest.filter(|longest| longest.wait > 0.0) else { return Ok(()) };
        let details = json!({
            "why": RefusalReason::RateLimited.as_str(),
            "by": longest.key.by.as_str(),
            "seconds": longest.wait.round() as i64,
        });
        let user = match email {
            Some(email) => users::find_by_email(&self.pool, email).await?,
            None => None,
        };
        let id = user.as_ref().map(|user| user.id);
        let kind = EventKind::SignInRefused;
        let event = Event { kind, user: id, session: None, origin, details };
        audit::record_in_own_transaction(&self.pool, event).await?;
        let is_of_account = counted.iter().any(|one| one.wait > 0.0 && one.key.by != By::Ip);
        if let Some(user) = user.filter(|user| is_of_account && user.disabled_at.is_none()) {
            failure_notice::send_in_background(&self.pool, sealer, user, origin, false);
        }
        Ok(())
    }

    /// Counts a wrong password in a session of `user` fully. If it started a wait, notifies the owner by mail: the
    /// session may be stolen.
    pub async fn record_failure_in_session(
        &self,
        sealer: &Sealer,
        user: UserId,
        origin: &Origin,
    ) -> sqlx::Result<()> {
        let counted = self.settle().await?;
        if counted.iter().all(|one| one.wait == 0.0) {
            return Ok(());
        }
        if let Some(user) = users::find(&self.pool, user).await? {
            failure_notice::send_in_background(&self.pool, sealer, user, origin, true);
        }
        Ok(())
    }

    /// Counts a refused code or link fully. Records `kind` in the audit log if this was the first or the fifth
    /// attempt, or if it started a wait, so that an attacker cannot fill the log. The attempts are those of the account
    /// or registration, or, for a link, those of the IP address.
    pub async fn record_refusal(
        &self,
        kind: EventKind,
        user: Option<UserId>,
        origin: &Origin,
    ) -> sqlx::Result<()> {
        let counted = self.settle().await?;
        let subject = counted.iter().find(|one| one.key.by == By::Account).or(counted.first());
        let Some(attempts) = subject.map(|subject| subject.attempts) else { return Ok(()) };
        let wait = counted.iter().map(|one| one.wait).fold(0.0, f64::max);
        if !RECORDED_ATTEMPTS.contains(&attempts) && wait == 0.0 {
            return Ok(());
        }
        let details = json!({ "attempts": attempts, "seconds": wait.round() as i64 });
        let event = Event { kind, user, session: None, origin, details };
        audit::record_in_own_transaction(&self.pool, event).await
    }

    /// The attempt failed: counts it fully and returns its counters, each with the wait that the attempt started.
    async fn settle(&self) -> sqlx::Result<Vec<Counted>> {
        let mut counted = self.counted.clone();
        if !self.is_settled.swap(true, Ordering::Relaxed) {
            for one in &mut counted {
                one.wait = one.wait.max(counters::fail(&self.pool, one).await?);
            }
        }
        Ok(counted)
    }
}

impl Drop for Permit {
    /// Counts the attempt fully, in the background. If the server stops before that, it counts fully a minute
    /// after its start.
    fn drop(&mut self) {
        let mut in_flight = std::mem::take(&mut self.counted);
        in_flight.retain(|one| one.in_flight_since.is_some());
        if self.is_settled.load(Ordering::Relaxed) || in_flight.is_empty() {
            return;
        }
        let pool = self.pool.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                for one in &in_flight {
                    if let Err(error) = db::with_deadline(counters::fail(&pool, one)).await {
                        tracing::debug!(%error, "an attempt counts as in flight for a minute");
                    }
                }
            });
        }
    }
}
