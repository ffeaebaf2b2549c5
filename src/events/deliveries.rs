//! The rows of `event_deliveries`, which only this module writes. A server leases a row by incrementing `attempts`. The
//! lease expires at `next_attempt_at`, and then any server may take the row again: a killed server loses no event.

use std::net::IpAddr;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::Details;
use super::registry::After;
use super::run::Hooks;
use crate::crypto::seal::Sealer;
use crate::db;
use crate::id::UserId;

/// How long a hook is retried.
const RETRY_FOR_SECONDS: f64 = 3.0 * 24.0 * 3_600.0;
/// How long a lease lasts: longer than the hook may take.
const LEASE_SECONDS: f64 = 60.0;
/// The longest wait between two attempts.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3_600);
/// In bytes. A CHECK of the table allows 1024.
const MAX_ERROR_LENGTH: usize = 1000;
/// [`Delivery::last_error`] of an event that no server took.
const NOT_TAKEN: &str =
    "no running server has this hook, or the key that the event is encrypted with";

/// Where an event comes from.
pub struct Source {
    /// The IP address of the request.
    pub ip_address: Option<IpAddr>,
    /// The browser and operating system.
    pub device: Option<String>,
}

impl Hooks {
    /// Stores the event `after` of `user`, whose row exists, for each hook that gets it after the commit.
    pub async fn enqueue(
        &self,
        connection: &mut PgConnection,
        after: After,
        user: UserId,
        source: Source,
    ) -> sqlx::Result<()> {
        let Some(parts) = self.parts() else { return Ok(()) };
        let hooks = parts.registered.after.iter().filter(|hook| hook.event == after);
        let hooks: Vec<&str> = hooks.map(|hook| hook.registration.name.as_str()).collect();
        if hooks.is_empty() {
            return Ok(());
        }
        let account = sqlx::query!(
            r#"SELECT email, now() AS "at!" FROM users WHERE id = $1"#,
            user as UserId
        )
        .fetch_optional(&mut *connection)
        .await?;
        let Some(account) = account else { return Ok(()) };
        let Source { ip_address, device } = source;
        let (user, at) = (user.uuid(), account.at);
        let details = Details { user, email: account.email, at, ip_address, device };
        let text =
            serde_json::to_vec(&details).map_err(|error| sqlx::Error::Encode(error.into()))?;
        for hook in hooks {
            let id = Uuid::now_v7();
            sqlx::query!(
                r#"
                INSERT INTO event_deliveries (id, event, hook, user_id, sealed, sealed_with, retry_until)
                VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))
                "#,
                id,
                after.as_str(),
                hook,
                user,
                parts.sealer.seal(&purpose(id), &text),
                parts.sealer.sealing_key_id(),
                RETRY_FOR_SECONDS,
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}

/// Binds sealed details to their row.
fn purpose(id: Uuid) -> String {
    format!("event_deliveries:{id}")
}

/// An event that this server has leased.
pub(super) struct Leased {
    pub(super) id: Uuid,
    sealed: Option<Vec<u8>>,
    pub(super) attempts: i32,
}

impl Leased {
    /// `None` if it was sealed for another row, or by a version whose details were different.
    pub(super) fn open(&self, sealer: &Sealer) -> Option<Details> {
        let text = sealer.open(&purpose(self.id), self.sealed.as_deref()?)?;
        serde_json::from_slice(&text).ok()
    }
}

/// Leases up to `limit` events that are due for `hook` and sealed with one of `key_ids`. Other servers skip them. A
/// time further ahead than any wait was stored before PostgreSQL's clock was set back, and counts as due.
pub(super) async fn lease(
    pool: &PgPool,
    (after, hook): (After, &str),
    key_ids: &[String],
    limit: i64,
) -> sqlx::Result<Vec<Leased>> {
    sqlx::query_as!(
        Leased,
        r#"
          WITH due AS MATERIALIZED (
               SELECT id
                 FROM event_deliveries
                WHERE state = 'waiting'
                  AND event = $1
                  AND hook = $2
                  AND next_attempt_at NOT BETWEEN now() AND now() + make_interval(secs => $3)
                  AND sealed_with = ANY($4)
                ORDER BY next_attempt_at
                LIMIT $5
                  FOR UPDATE SKIP LOCKED)
        UPDATE event_deliveries AS e
           SET attempts = e.attempts + 1,
               next_attempt_at = now() + make_interval(secs => $6)
          FROM due
         WHERE e.id = due.id
        RETURNING e.id, e.sealed, e.attempts
        "#,
        after.as_str(),
        hook,
        2.0 * LONGEST_WAIT.as_secs_f64(),
        key_ids,
        limit,
        LEASE_SECONDS,
    )
    .fetch_all(db::on(pool))
    .await
}

/// The hook has run. Also applies if another server has taken the event meanwhile.
pub(super) async fn mark_delivered(pool: &PgPool, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE event_deliveries
           SET state = 'delivered', sealed = NULL, finished_at = now(), last_error = NULL
         WHERE id = $1
           AND state <> 'delivered'
        "#,
        id,
    )
    .execute(db::on(pool))
    .await?;
    Ok(())
}

/// The attempt failed: the event is due again after `wait`, or it has failed if it was retried for three days. Returns
/// whether it has failed.
pub(super) async fn reschedule(
    pool: &PgPool,
    leased: &Leased,
    wait: Duration,
    error: &str,
) -> sqlx::Result<bool> {
    let has_failed = sqlx::query_scalar!(
        r#"
        UPDATE event_deliveries
           SET state = CASE WHEN retry_until <= now() THEN 'failed' ELSE state END,
               finished_at = CASE WHEN retry_until <= now() THEN now() END,
               next_attempt_at = now() + make_interval(secs => $3),
               last_error = $4
         WHERE id = $1
           AND attempts = $2
           AND state = 'waiting'
        RETURNING state = 'failed' AS "has_failed!"
        "#,
        leased.id,
        leased.attempts,
        wait.as_secs_f64(),
        &error[..error.floor_char_boundary(MAX_ERROR_LENGTH)],
    )
    .fetch_optional(db::on(pool))
    .await?;
    Ok(has_failed.unwrap_or(false))
}

/// Deletes up to `limit` events: those delivered more than 7 days ago, and those that failed more than 30 days ago. Marks
/// those as failed before that no server took for three days: their hook was removed or renamed, or their key is gone.
pub async fn purge(connection: &mut PgConnection, limit: i64, skipped: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        r#"
        UPDATE event_deliveries
           SET state = 'failed', finished_at = now(), last_error = coalesce(last_error, $2)
         WHERE id IN (
               SELECT id
                 FROM event_deliveries
                WHERE state = 'waiting'
                  AND retry_until <= now() - interval '1 day'
                ORDER BY retry_until
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        "#,
        limit,
        NOT_TAKEN,
    )
    .execute(&mut *connection)
    .await?;
    let deleted = sqlx::query!(
        r#"
        DELETE FROM event_deliveries
         WHERE id = ANY(ARRAY(
               SELECT id
                 FROM event_deliveries
                WHERE state = 'delivered'
                  AND finished_at <= now() - interval '7 days'
                ORDER BY finished_at
                LIMIT $1 OFFSET $2
                  FOR UPDATE SKIP LOCKED)
            || ARRAY(
               SELECT id
                 FROM event_deliveries
                WHERE state = 'failed'
                  AND finished_at <= now() - interval '30 days'
                ORDER BY finished_at
                LIMIT $1 OFFSET $2
                  FOR UPDATE SKIP LOCKED))
        "#,
        limit,
        skipped,
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}
