//! Deletes accounts: those whose deletion is due, and those that an operator deletes. One transaction deletes what is
//! stored about the user and anonymizes the audit events.

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::rate_limit;
use super::session_rules::{self, AccountEvent};
use crate::audit::{self, Event, EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::db;
use crate::events::{After, Deletion, Hooks};
use crate::id::UserId;
use crate::mail::{Message, outbox};
use crate::session::notice;

/// How often [`delete_now`] starts again because the email of the account changed before its row was locked.
const MAX_TRIES: usize = 3;

/// Deletes an account immediately: for operators. `false` if there is none. The caller invalidates its
/// sessions in the caches.
#[tracing::instrument(level = "debug", skip_all, fields(%user))]
pub async fn delete_now(
    pool: &PgPool,
    sealer: &Sealer,
    hooks: &Hooks,
    user: UserId,
    origin: Origin,
) -> sqlx::Result<bool> {
    for _ in 0..MAX_TRIES {
        match erase(pool, sealer, hooks, user, Which::Any, origin.clone()).await? {
            Erasure::Done => return Ok(true),
            Erasure::NotFound => return Ok(false),
            Erasure::Changed => {}
        }
    }
    Err(sqlx::Error::Protocol("the email of the account keeps changing; try again".to_owned()))
}

/// An account whose deletion is due.
#[derive(Clone, Copy, Debug)]
pub struct DueAccount {
    /// The account.
    pub id: UserId,
    /// Since when.
    pub since: OffsetDateTime,
}

/// Lists up to `limit` accounts whose deletion is due, the one due for longest first, without those that wait for
/// another attempt or are set aside (`queue.rs`). `after` is the last one of the previous list.
pub async fn list_due(
    pool: &PgPool,
    after: Option<DueAccount>,
    limit: i64,
) -> sqlx::Result<Vec<DueAccount>> {
    sqlx::query_as!(
        DueAccount,
        r#"
        SELECT id AS "id: UserId", deletion_due_at AS "since!"
          FROM users
         WHERE deletion_due_at <= now()
           AND ($1::timestamptz IS NULL OR (deletion_due_at, id) > ($1, $2))
           AND NOT EXISTS (
               SELECT
                 FROM queue_failures f
                WHERE f.queue = 'deletions'
                  AND f.row_id = users.id
                  AND (f.next_attempt_at IS NULL
                       OR f.next_attempt_at BETWEEN now() AND now() + interval '2 hours'))
         ORDER BY deletion_due_at, id
         LIMIT $3
        "#,
        after.map(|after| after.since),
        after.map(|after| after.id) as Option<UserId>,
        limit,
    )
    .fetch_all(db::on(pool))
    .await
}

/// Deletes an account whose deletion is due. `false` if it is no longer due, or if another transaction has locked
/// it, for example to cancel its deletion; then the next round of the job finds it again. The caller invalidates its
/// sessions in the caches.
#[tracing::instrument(level = "debug", skip_all, fields(%user))]
pub async fn delete_if_due(
    pool: &PgPool,
    sealer: &Sealer,
    hooks: &Hooks,
    user: UserId,
) -> sqlx::Result<bool> {
    let erasure = erase(pool, sealer, hooks, user, Which::Due, Origin::system()).await?;
    Ok(erasure == Erasure::Done)
}

/// Which account [`erase`] may delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Any,
    /// One whose deletion is due and whose row no other transaction has locked.
    Due,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Erasure {
    Done,
    NotFound,
    /// The email was changed, or the account is no longer `Which::Due`. Nothing was written.
    Changed,
}

/// Deletes the account, its mails, its rate-limit counters, and pending requests for its email, in one
/// transaction. Its audit events are kept without user agent and IP address. The email remains only in the final
/// notice, until that is purged from the outbox.
async fn erase(
    pool: &PgPool,
    sealer: &Sealer,
    hooks: &Hooks,
    user: UserId,
    which: Which,
    origin: Origin,
) -> sqlx::Result<Erasure> {
    let (sealer, hooks, recorded) = (sealer.clone(), hooks.clone(), origin.clone());
    // Anonymizing a long audit log takes longer than the statement timeout of pages.
    let erased = db::long_transaction(pool, move |connection| {
        Box::pin(async move {
            if which == Which::Due {
                // Other accounts must not wait for a row of this one that someone has locked in psql.
                sqlx::query!("SET LOCAL lock_timeout = '10s'").execute(&mut *connection).await?;
            }
            let email_canonical = sqlx::query_scalar!(
                "SELECT email_canonical FROM users WHERE id = $1",
                user as UserId
            )
            .fetch_optional(&mut *connection)
            .await?;
            let Some(email_canonical) = email_canonical else { return Ok(Erasure::NotFound) };
            // The job that writes mail locks a request before the account (see the lock order).
            let requests = Requests::lock(connection, &email_canonical).await?;
            let Some(account) = lock(connection, user, &email_canonical, which).await? else {
                return Ok(Erasure::Changed);
            };
            // Before Frontdesk's rows are deleted, so that the hook can read them.
            let event = Deletion::new(account.id, &account.email);
            hooks.deletion(connection, event).await?;
            notice::for_hooks(connection, &hooks, After::Deletion, account.id, &origin).await?;
            requests.delete(connection).await?;
            erase_locked(connection, &sealer, account, &origin).await?;
            Ok(Erasure::Done)
        })
    })
    .await;
    if let Err(error) = &erased
        && let Some(key) = db::refusing_foreign_key(error)
        && let Err(error) = record_failure(pool, user, key, recorded).await
    {
        db::log_failure("the failed deletion of an account could not be recorded", &error.into());
    }
    erased
}

/// Records that a foreign key of another table, for example of a site, has refused the deletion. Everything else was
/// rolled back.
async fn record_failure(
    pool: &PgPool,
    user: UserId,
    (constraint, table): (String, String),
    origin: Origin,
) -> sqlx::Result<()> {
    tracing::warn!(%user, constraint, table, "a foreign key refused the deletion of an account");
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let details = json!({ "constraint": constraint, "table": table });
            let (kind, user) = (EventKind::DeletionFailed, Some(user));
            audit::record(connection, Event { kind, user, session: None, origin: &origin, details })
                .await
        })
    })
    .await
}

/// The invitation, pending registrations and password-reset requests of an email, whose rows are locked.
struct Requests {
    invitations: Vec<Uuid>,
    registrations: Vec<Uuid>,
    recoveries: Vec<Uuid>,
}

impl Requests {
    async fn lock(connection: &mut PgConnection, email_canonical: &str) -> sqlx::Result<Self> {
        let invitations = sqlx::query_scalar!(
            r#"
            SELECT COALESCE(array_agg(id), '{}') AS "ids!"
              FROM (SELECT id FROM invitations WHERE email_canonical = $1 ORDER BY id FOR UPDATE) AS locked
            "#,
            email_canonical
        )
        .fetch_one(&mut *connection)
        .await?;
        let registrations = sqlx::query_scalar!(
            r#"
            SELECT COALESCE(array_agg(id), '{}') AS "ids!"
              FROM (SELECT id FROM registrations WHERE email_canonical = $1 ORDER BY id FOR UPDATE) AS locked
            "#,
            email_canonical
        )
        .fetch_one(&mut *connection)
        .await?;
        let recoveries = sqlx::query_scalar!(
            r#"
            SELECT COALESCE(array_agg(id), '{}') AS "ids!"
              FROM (SELECT id FROM recovery_requests WHERE email_canonical = $1 ORDER BY id FOR UPDATE) AS locked
            "#,
            email_canonical
        )
        .fetch_one(connection)
        .await?;
        Ok(Self { invitations, registrations, recoveries })
    }

    /// A request that was inserted since is kept: it is newer than the deletion, and locking it now would break
    /// the lock order.
    async fn delete(self, connection: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query!("DELETE FROM invitations WHERE id = ANY($1)", &self.invitations)
            .execute(&mut *connection)
            .await?;
        sqlx::query!("DELETE FROM registrations WHERE id = ANY($1)", &self.registrations)
            .execute(&mut *connection)
            .await?;
        sqlx::query!("DELETE FROM recovery_requests WHERE id = ANY($1)", &self.recoveries)
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// An account to delete, whose row is locked.
struct LockedAccount {
    id: UserId,
    email: String,
    email_canonical: String,
    display_name: String,
    email_verified_at: Option<OffsetDateTime>,
}

/// Locks the row of `user`. `None` if its email is no longer `email_canonical`, or if it is not `which`.
async fn lock(
    connection: &mut PgConnection,
    user: UserId,
    email_canonical: &str,
    which: Which,
) -> sqlx::Result<Option<LockedAccount>> {
    match which {
        Which::Any => {
            sqlx::query_as!(
                LockedAccount,
                r#"
                SELECT id, email, email_canonical, display_name, email_verified_at
                  FROM users
                 WHERE id = $1
                   AND email_canonical = $2
                   FOR UPDATE
                "#,
                user as UserId,
                email_canonical,
            )
            .fetch_optional(connection)
            .await
        }
        Which::Due => {
            sqlx::query_as!(
                LockedAccount,
                r#"
                SELECT id, email, email_canonical, display_name, email_verified_at
                  FROM users
                 WHERE id = $1
                   AND email_canonical = $2
                   AND deletion_due_at <= now()
                   FOR UPDATE SKIP LOCKED
                "#,
                user as UserId,
                email_canonical,
            )
            .fetch_optional(connection)
            .await
        }
    }
}

/// Deletes the rows of the account in the lock order.
async fn erase_locked(
    connection: &mut PgConnection,
    sealer: &Sealer,
    account: LockedAccount,
    origin: &Origin,
) -> sqlx::Result<()> {
    let user = account.id;
    session_rules::apply(connection, AccountEvent::Deleted, user, None, origin).await?;
    rate_limit::delete_counters(connection, sealer, user, &account.email_canonical).await?;
    let email = (account.email.as_str(), account.email_canonical.as_str());
    let was_suppressed = outbox::delete_for_user(connection, user, email).await?;
    sqlx::query!("DELETE FROM users WHERE id = $1", user as UserId)
        .execute(&mut *connection)
        .await?;
    audit::record(
        &mut *connection,
        Event {
            kind: EventKind::AccountDeleted,
            user: Some(user),
            session: None,
            origin,
            details: json!({}),
        },
    )
    .await?;
    audit::anonymize(connection, user).await?;
    // No account has the email any longer and its suppression is deleted, so `enqueue` and delivery cannot find out.
    if account.email_verified_at.is_some() && !was_suppressed {
        let message = Message::AccountDeleted { display_name: account.display_name };
        outbox::enqueue(connection, sealer, None, &account.email, &message).await?;
    }
    Ok(())
}
