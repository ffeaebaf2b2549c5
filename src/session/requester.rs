//! A signed-in user who requests a change, and the check that the session still exists when the change is written.
//!
//! The session of a request is read with the head of the request; the body may arrive ten seconds later. Until then
//! the session may have ended: by a sign-out in another tab, by another device, by a password reset, by an operator. So
//! every transaction on behalf of a session starts with [`Requester::lock`]. It locks the row of the user and the row
//! of the session until the commit: either it sees that the session has ended, or the end waits for this commit.
//! Nothing is written for a session after its end has been answered.
//!
//! # Lock order
//!
//! Every transaction takes its row locks in this order. A transaction that breaks it can deadlock with a form.
//!
//! 1. `users`: the row of the user. `FOR NO KEY UPDATE` excludes every other change of the account and every sign-in
//!    (`FOR SHARE`), and admits the foreign keys of mail that another account's form causes.
//! 2. `sessions` and `email_tokens` of that user. Whoever changes more than one of these rows, or changes one and
//!    then waits for another lock, holds the row of the user.
//! 3. `throttles`, in the order of their key.
//! 4. Rows that the transaction inserts: `audit_events`, `mail_outbox`.
//!
//! The statements that end or update a single session without the row of the user (an operator by id, the session store)
//! wait for no lock after it. The last-seen update and the purges skip locked rows and wait for nobody. Two statements
//! cannot follow the order: `DELETE FROM sessions` of several rows in psql, and `frontdesk session revoke --all`, which
//! would have to lock every user. If one of them meets a form that ends sessions, PostgreSQL cancels one of the two
//! transactions as a deadlock; the other one completes.

use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::audit::Origin;
use crate::db::{self, Failure, Work};
use crate::id::{SessionId, UserId};

/// Who requests a change: a user, in one of their sessions. Commands of an operator have no requester.
#[derive(Clone, Debug)]
pub struct Requester {
    /// The account that the session is signed in to.
    pub user: UserId,
    /// The session that the request came with.
    pub session: SessionId,
    /// Where the request comes from, for the audit log.
    pub origin: Origin,
}

/// The session of a request ended before the request was carried out. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionEnded;

impl Requester {
    /// Runs `work` in one transaction, as [`db::transaction`] does, after [`Requester::lock`].
    pub async fn transaction<T, E, F>(
        &self,
        pool: &PgPool,
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
                match requester.lock(connection).await? {
                    Ok(()) => work(connection).await.map(Ok),
                    Err(ended) => Ok(Err(ended)),
                }
            })
        })
        .await
    }

    /// Locks the rows of the user and of the session until the end of the caller's transaction. Must be its first
    /// statement on rows of this user (see the lock order). The session must exist, must not have expired, and its user
    /// must not be disabled.
    pub async fn lock(
        &self,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Result<(), SessionEnded>> {
        let user = sqlx::query_scalar!(
            r#"
            SELECT true AS "enabled!"
              FROM users
             WHERE id = $1
               AND disabled_at IS NULL
               FOR NO KEY UPDATE
            "#,
            self.user.uuid(),
        )
        .fetch_optional(&mut *connection)
        .await?;
        if user.is_none() {
            return Ok(Err(SessionEnded));
        }
        // A statement of its own: its snapshot is taken after the lock above was granted.
        let session = sqlx::query_scalar!(
            r#"
            SELECT true AS "live!"
              FROM sessions
             WHERE id = $1
               AND user_id = $2
               AND expires_at > clock_timestamp()
               FOR NO KEY UPDATE
            "#,
            self.session.uuid(),
            self.user.uuid(),
        )
        .fetch_optional(&mut *connection)
        .await?;
        Ok(session.map(|_| ()).ok_or(SessionEnded))
    }

    /// Whether the session is still accepted, without a lock: for what is only read.
    pub async fn is_live(&self, at: impl PgExecutor<'_>) -> sqlx::Result<bool> {
        sqlx::query_scalar!(
            r#"
            SELECT EXISTS (
                   SELECT
                     FROM sessions s
                     JOIN users u ON u.id = s.user_id
                    WHERE s.id = $1
                      AND s.user_id = $2
                      AND s.expires_at > clock_timestamp()
                      AND u.disabled_at IS NULL) AS "live!"
            "#,
            self.session.uuid(),
            self.user.uuid(),
        )
        .fetch_one(at)
        .await
    }
}

/// Locks the row of `user` as [`Requester::lock`] does, for an operator who ends several sessions of an account.
pub(super) async fn lock_user(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    sqlx::query!("SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE", user.uuid())
        .execute(connection)
        .await?;
    Ok(())
}
