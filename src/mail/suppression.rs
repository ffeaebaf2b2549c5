//! Recipients that get no mail: their mail server said that the mailbox does not exist, or an operator suppressed
//! them. Owns the table `suppressed_recipients`. Mail to them is enqueued as usual, so that no page and no
//! response time differs, and it fails when it would be sent. A suppression after a bounce ends automatically,
//! because mail providers have answered "no such user" for all their users during an outage.

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::address::EmailAddress;
use crate::db;
use crate::id::UserId;

/// Remembers that the mail bounced: its recipient is suppressed for one day, and for twice as long after each further
/// bounce, up to 32 days. The notice of a deleted account is the last mail to its email, so that email is not kept.
pub async fn record_bounce(pool: &PgPool, mail: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO suppressed_recipients AS s (email_canonical, user_id, reason, bounces, suppressed_until)
        SELECT recipient_canonical, user_id, 'bounced', 1, now() + interval '1 day'
          FROM mail_outbox
         WHERE id = $1
           AND recipient_canonical IS NOT NULL
           AND kind <> 'account_deleted'
            ON CONFLICT ON CONSTRAINT suppressed_recipients_pkey DO UPDATE
           SET user_id = COALESCE(EXCLUDED.user_id, s.user_id),
               bounces = s.bounces + 1,
               suppressed_until = GREATEST(
                   s.suppressed_until,
                   now() + make_interval(days => (2 ^ LEAST(s.bounces, 5))::int))
        "#,
        mail,
    )
    .execute(db::on(pool))
    .await?;
    Ok(())
}

/// Suppresses `email` until [`unsuppress`]: for operators. `false` if that was done before.
pub async fn suppress(pool: &PgPool, email: &EmailAddress) -> sqlx::Result<bool> {
    let suppressed = sqlx::query!(
        r#"
        INSERT INTO suppressed_recipients AS s (email_canonical, user_id, reason, suppressed_until)
        VALUES ($1, (SELECT id FROM users WHERE email_canonical = $1), 'operator', 'infinity')
            ON CONFLICT ON CONSTRAINT suppressed_recipients_pkey DO UPDATE
           SET reason = 'operator', suppressed_until = 'infinity'
         WHERE s.reason <> 'operator'
        "#,
        email.canonical(),
    )
    .execute(db::on(pool))
    .await?;
    Ok(suppressed.rows_affected() > 0)
}

/// Ends the suppression of `email` and forgets its bounces. `false` if there was none.
pub async fn unsuppress(pool: &PgPool, email: &EmailAddress) -> sqlx::Result<bool> {
    let deleted = sqlx::query!(
        "DELETE FROM suppressed_recipients WHERE email_canonical = $1",
        email.canonical(),
    )
    .execute(db::on(pool))
    .await?;
    Ok(deleted.rows_affected() > 0)
}

/// The same in the caller's transaction, which deletes the account. Returns whether mail to it was suppressed.
pub(super) async fn delete(
    connection: &mut PgConnection,
    email_canonical: &str,
) -> sqlx::Result<bool> {
    let was_suppressed = sqlx::query_scalar!(
        r#"
        DELETE FROM suppressed_recipients
         WHERE email_canonical = $1
        RETURNING suppressed_until > now() AS "was_suppressed!"
        "#,
        email_canonical,
    )
    .fetch_optional(connection)
    .await?;
    Ok(was_suppressed.unwrap_or(false))
}

/// Assigns the suppression of an email, if it has no account, to `user`, in the caller's transaction.
pub(super) async fn assign_to_user(
    connection: &mut PgConnection,
    user: UserId,
    email_canonical: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE suppressed_recipients SET user_id = $1 WHERE email_canonical = $2 AND user_id IS NULL",
        user as UserId,
        email_canonical,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A recipient that gets no mail.
pub struct SuppressedRecipient {
    /// Its canonical email.
    pub email: String,
    /// `bounced` or `operator`.
    pub reason: String,
    /// How many mails bounced.
    pub bounces: i32,
    /// When it was first suppressed.
    pub created_at: OffsetDateTime,
    /// When mail is sent again. `None`: not until an operator says so.
    pub until: Option<OffsetDateTime>,
}

/// Lists up to `limit` suppressed recipients, in the order of their emails. `after` is the last email of the
/// previous page.
pub async fn list(
    pool: &PgPool,
    after: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<SuppressedRecipient>> {
    sqlx::query_as!(
        SuppressedRecipient,
        r#"
        SELECT email_canonical AS email, reason, bounces, created_at,
               NULLIF(suppressed_until, 'infinity') AS until
          FROM suppressed_recipients
         WHERE suppressed_until > now()
           AND ($1::text IS NULL OR email_canonical > $1)
         ORDER BY email_canonical
         LIMIT $2
        "#,
        after,
        limit,
    )
    .fetch_all(db::on(pool))
    .await
}

/// Deletes up to `limit` recipients, without the first `skipped` ones, whose suppression ended 60 days ago.
pub async fn purge(connection: &mut PgConnection, limit: i64, skipped: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM suppressed_recipients
         WHERE email_canonical IN (
               SELECT email_canonical
                 FROM suppressed_recipients
                WHERE suppressed_until <= now() - interval '60 days'
                ORDER BY suppressed_until
                LIMIT $1 OFFSET $2
                  FOR UPDATE SKIP LOCKED)
        "#,
        limit,
        skipped,
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}
