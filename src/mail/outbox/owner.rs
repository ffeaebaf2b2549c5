//! The mails of an account in the outbox, for its deletion.

use sqlx::PgConnection;

use crate::id::UserId;
use crate::mail::suppression;

/// Deletes all mail about the account of `user` and all mail to its email, sent or not, and the suppression of its
/// email. Returns whether the email was suppressed. Locks the rows in the order of their ids, as every statement does
/// that waits for several of them.
pub async fn delete_for_user(
    connection: &mut PgConnection,
    user: UserId,
    (email, email_canonical): (&str, &str),
) -> sqlx::Result<bool> {
    sqlx::query!(
        r#"
        DELETE FROM mail_outbox
         WHERE id = ANY(ARRAY(
               SELECT id
                 FROM mail_outbox
                WHERE user_id = $1
                   OR recipient_canonical = $2
                   OR (recipient_canonical IS NULL AND lower(recipient) = lower($3))
                ORDER BY id
                  FOR UPDATE))
        "#,
        user as UserId,
        email_canonical,
        email,
    )
    .execute(&mut *connection)
    .await?;
    suppression::delete(connection, email_canonical).await
}

/// Assigns the mails to an email that have no account, and the suppression of the email, to `user`, whose email it was
/// until now: they are deleted with that account, although its email is another one then.
pub async fn assign_to_user(
    connection: &mut PgConnection,
    user: UserId,
    email_canonical: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE mail_outbox
           SET user_id = $1
         WHERE id = ANY(ARRAY(
               SELECT id
                 FROM mail_outbox
                WHERE recipient_canonical = $2
                  AND user_id IS NULL
                ORDER BY id
                  FOR UPDATE))
        "#,
        user as UserId,
        email_canonical,
    )
    .execute(&mut *connection)
    .await?;
    suppression::assign_to_user(connection, user, email_canonical).await
}
