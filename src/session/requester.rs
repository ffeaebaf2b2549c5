//! A signed-in user who requests a change, and the check that the session still exists when the change is
//! written.
//!
//! The session of a request is read when the headers arrive; the body may arrive up to ten seconds later. In
//! the meantime, the session may have been revoked, for example by a sign-out in another tab or on another
//! device, by a password reset, or by an operator. So every transaction on behalf of a session starts with
//! [`Requester::lock`] or [`Requester::lock_session`]. If the secret of the session was rotated in the
//! meantime, the former cookie is no longer accepted. The locks last until the commit: either the transaction
//! sees that the session has ended, or the revocation waits for the commit. Nothing is written for a session
//! after the response to its revocation was sent.
//!
//! # Lock order
//!
//! Every transaction takes its row locks in this order. A transaction that breaks it can deadlock with a
//! request.
//!
//! 0. Only while the notification queue is full: the row of `session_cache_resets`.
//! 1. `invitations`, then `registrations`, then `recovery_requests`, each in the order of their ids. The job that
//!    sends the mail of the last two locks a request before it knows the account, so the deletion of an account
//!    locks the requests for its email first too.
//! 2. `users`: the row of the user. `FOR NO KEY UPDATE` excludes every other change of the account and every
//!    sign-in (`FOR SHARE`). It does not block the foreign-key check of a mail to this user that another
//!    user's request inserts; only the deletion of the account (`FOR UPDATE`) does.
//! 3. Tables of second factors, once they exist: `pending_sign_ins`, then `totp_secrets`, `passkeys` and
//!    `recovery_codes`, then `used_nonces`, then `second_factor_failures`.
//! 4. `sessions` of that user. A sign-in also deletes the session that the browser had, which may be another
//!    user's; it locks nothing else of that user.
//! 5. `email_tokens` of that user.
//! 6. `throttles`, in the order of their key.
//! 7. `audit_events`, which are inserted.
//! 8. For each mail: the row of its recipient in `users` (`FOR KEY SHARE`), then `mail_limits` in the order of
//!    their topics.
//! 9. `mail_outbox`: inserted, or locked in the order of their ids.
//!
//! A transaction that locks more than one row of a user in 3 to 6 holds the row of the user. Such a transaction
//! may take the tables behind `users` in another order, for example a link before the sessions: nothing that
//! waits for the row of the user holds one of these rows. Two orders remain: `sessions` before `throttles`,
//! because [`Lock::Session`] locks both and not the user, and `mail_limits` before `mail_outbox`, because mails
//! to the same recipient wait for each other. Only the deletion of an account deletes mail before it enqueues
//! one: mails to its email wait for the row of the user, which it has locked `FOR UPDATE`.
//!
//! The last-seen update and the purges skip locked rows and never wait. Statements about many users cannot follow
//! the order: `DELETE FROM sessions` of several rows in psql, `frontdesk session revoke` for a network or for all,
//! which would have to lock every user, and imports of the same emails at the same time. If one of them runs
//! concurrently with a request that revokes sessions, PostgreSQL detects a deadlock and cancels one of the two
//! transactions; the other one completes. [`db::transaction`] runs a canceled one once more.

use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::audit::Origin;
use crate::crypto::secret::Digest;
use crate::db::{self, Failure, Work};
use crate::id::{SessionId, UserId};

/// The user and the session that request a change. Commands of an operator have no requester.
#[derive(Clone, Debug)]
pub struct Requester {
    /// The account that the session is signed in to.
    pub user: UserId,
    /// The session of the request.
    pub session: SessionId,
    /// The digest of the secret in the cookie of the request. The session is not accepted if its secret was
    /// rotated since, by a re-authentication or a new password. `None`: any secret is accepted.
    pub token_digest: Option<Digest>,
    /// The source of the request, for the audit log.
    pub origin: Origin,
}

/// The row locks that a transaction on behalf of a session takes first, before it checks the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// The user and the session, see [`Requester::lock`]: for changes of the account and of several of its
    /// sessions.
    UserAndSession,
    /// The session only, see [`Requester::lock_session`]: for transactions that change neither the account
    /// nor another session, such as counting an attempt. It does not wait for changes of the account, and
    /// they do not wait for it.
    Session,
}

/// The session ended before the request was executed. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionEnded;

impl Requester {
    /// Runs `work` in one transaction, as [`db::transaction`] does, after taking `lock` and checking the
    /// session.
    pub async fn transaction<T, E, F>(
        &self,
        pool: &PgPool,
        lock: Lock,
        work: F,
    ) -> Result<Result<T, SessionEnded>, E>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, E> + Clone + Send + 'static,
        T: Send + 'static,
        E: Failure,
    {
        let requester = self.clone();
        db::transaction(pool, move |connection| {
            Box::pin(async move {
                let checked = match lock {
                    Lock::UserAndSession => requester.lock(connection).await?,
                    Lock::Session => requester.lock_session(connection).await?,
                };
                match checked {
                    Ok(()) => work(connection).await.map(Ok),
                    Err(ended) => Ok(Err(ended)),
                }
            })
        })
        .await
    }

    /// Locks the row of the user, then checks and locks the session as [`Requester::lock_session`] does. Must
    /// come before any other lock of the caller's transaction (see the lock order).
    pub async fn lock(
        &self,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Result<(), SessionEnded>> {
        lock_user(&mut *connection, self.user).await?;
        // A separate statement: its snapshot is taken after the lock above was granted.
        self.lock_session(connection).await
    }

    /// Locks the row of the session until the end of the caller's transaction. The session must exist, must
    /// not have expired, must still have the secret of the request, and its user must not be disabled.
    pub async fn lock_session(
        &self,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Result<(), SessionEnded>> {
        let locked = sqlx::query!(
            r#"
            SELECT
              FROM sessions s
              JOIN users u ON u.id = s.user_id
             WHERE s.id = $1
               AND s.user_id = $2
               AND ($3::bytea IS NULL OR s.token_digest = $3)
               AND s.expires_at > clock_timestamp()
               AND u.disabled_at IS NULL
               FOR NO KEY UPDATE OF s
            "#,
            self.session as SessionId,
            self.user as UserId,
            self.token_digest.as_ref().map(|digest| &digest.as_bytes()[..]),
        )
        .execute(connection)
        .await?;
        Ok(if locked.rows_affected() == 1 { Ok(()) } else { Err(SessionEnded) })
    }

    /// Whether the session is still accepted. Takes no lock: for requests that only read.
    pub async fn is_live(&self, executor: impl PgExecutor<'_>) -> sqlx::Result<bool> {
        sqlx::query_scalar!(
            r#"
            SELECT EXISTS (
                   SELECT
                     FROM sessions s
                     JOIN users u ON u.id = s.user_id
                    WHERE s.id = $1
                      AND s.user_id = $2
                      AND ($3::bytea IS NULL OR s.token_digest = $3)
                      AND s.expires_at > clock_timestamp()
                      AND u.disabled_at IS NULL) AS "live!"
            "#,
            self.session as SessionId,
            self.user as UserId,
            self.token_digest.as_ref().map(|digest| &digest.as_bytes()[..]),
        )
        .fetch_one(executor)
        .await
    }
}

/// Locks the row of `user`, if there is one.
pub(super) async fn lock_user(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    sqlx::query!("SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE", user as UserId)
        .execute(connection)
        .await?;
    Ok(())
}
