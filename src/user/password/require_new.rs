//! Requires new passwords: deletes the password, applies the rule of a password that an operator sets, and mails
//! a link to choose a new one.

use sqlx::{Connection as _, PgConnection, PgPool};
use time::OffsetDateTime;

use super::change::invalidate;
use crate::audit::{Origin, RefusalReason};
use crate::crypto::seal::Sealer;
use crate::db;
use crate::id::UserId;
use crate::mail::Message;
use crate::user::email;
use crate::user::email::token::{NewLink, Purpose};
use crate::user::session_rules::{self, AccountEvent};

/// Accounts of one transaction: few enough to hold their locks only briefly.
const BATCH_SIZE: i64 = 50;

/// What was done for one account or one batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Required {
    /// Accounts whose password was deleted.
    pub accounts: u64,
    /// Accounts to which a link was mailed. A disabled account gets none.
    pub mails: u64,
    /// Sessions that were revoked.
    pub sessions: u64,
    /// Accounts that could not be changed. The log names them.
    pub failed: u64,
}

impl Required {
    /// Adds what was done for other accounts.
    pub fn add(&mut self, other: Self) {
        self.accounts += other.accounts;
        self.mails += other.mails;
        self.sessions += other.sessions;
        self.failed += other.failed;
    }
}

/// Requires a new password of `user`. If the account has none, it only gets another link. The caller
/// invalidates the sessions in the caches.
#[tracing::instrument(level = "debug", skip_all, fields(%user))]
pub async fn of_user(
    pool: &PgPool,
    sealer: &Sealer,
    user: UserId,
    origin: Origin,
) -> sqlx::Result<Required> {
    let sealer = sealer.clone();
    db::transaction(pool, move |connection| {
        Box::pin(async move { require(connection, &sealer, user, &origin).await })
    })
    .await
}

/// Requires a new password of the next accounts, in the order of their ids after `after`, whose password was
/// chosen before `changed_before`. Returns the last of them and what was done; `None` if none is left. An
/// account that cannot be changed, for example because of a trigger, is skipped. Otherwise each batch is
/// complete or not done at all, and accounts that were done have no password, so that the work can be continued
/// after an interruption.
pub async fn of_next_batch(
    pool: &PgPool,
    sealer: &Sealer,
    after: UserId,
    changed_before: OffsetDateTime,
    origin: Origin,
) -> sqlx::Result<Option<(UserId, Required)>> {
    let sealer = sealer.clone();
    db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            db::allow_long_statement(connection).await?;
            let users = sqlx::query_scalar!(
                r#"
                SELECT id AS "id: UserId"
                  FROM users
                 WHERE id > $1
                   AND password_hash IS NOT NULL
                   AND (password_changed_at IS NULL OR password_changed_at < $2)
                 ORDER BY id
                 LIMIT $3
                   FOR NO KEY UPDATE
                "#,
                after as UserId,
                changed_before,
                BATCH_SIZE,
            )
            .fetch_all(&mut *connection)
            .await?;
            let (mut done, mut last_error) = (Required::default(), None);
            for user in &users {
                let mut savepoint = connection.begin().await?;
                match require(&mut savepoint, &sealer, *user, &origin).await {
                    Ok(one) => {
                        savepoint.commit().await?;
                        done.add(one);
                    }
                    Err(error) if db::is_unavailable(&error) => return Err(error),
                    Err(error) => {
                        savepoint.rollback().await?;
                        tracing::warn!(
                            error = db::reason(&error),
                            "no new password can be required of the account {user}"
                        );
                        done.failed += 1;
                        last_error = Some(error);
                    }
                }
            }
            // If every account fails, the cause is not one of them.
            if let Some(error) = last_error.filter(|_| done.accounts == 0) {
                return Err(error);
            }
            Ok(users.last().map(|last| (*last, done)))
        })
    })
    .await
}

/// The number of accounts that [`of_next_batch`] would find.
pub async fn count(pool: &PgPool, changed_before: OffsetDateTime) -> sqlx::Result<i64> {
    db::long_transaction(pool, move |connection| {
        Box::pin(async move {
            sqlx::query_scalar!(
                r#"
                SELECT count(*) AS "count!"
                  FROM users
                 WHERE password_hash IS NOT NULL
                   AND (password_changed_at IS NULL OR password_changed_at < $1)
                "#,
                changed_before,
            )
            .fetch_one(connection)
            .await
        })
    })
    .await
}

async fn require(
    connection: &mut PgConnection,
    sealer: &Sealer,
    user: UserId,
    origin: &Origin,
) -> sqlx::Result<Required> {
    invalidate(connection, user, RefusalReason::NewPasswordRequired, origin).await?;
    let event = AccountEvent::PasswordReset;
    let applied = session_rules::apply(connection, event, user, None, origin).await?;
    let sessions = applied.ended_sessions as u64;
    let mut done = Required { accounts: 1, sessions, ..Required::default() };
    if let Some(owner) = email::token::lock_owner(connection, user).await? {
        let about = (owner.email.as_str(), owner.email_canonical.as_str());
        let purpose = Purpose::ResetPassword;
        let message = |link: NewLink| {
            let (display_name, token) = (owner.display_name.clone(), link.token);
            Message::NewPasswordRequired { display_name, token }
        };
        let sent = email::token::send(connection, sealer, user, purpose, about, message).await?;
        done.mails = u64::from(sent.is_sent());
    }
    Ok(done)
}
