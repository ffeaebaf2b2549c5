//! What the tables of this room no longer need goes, a bounded batch at a time, in the caller's transaction.

use sqlx::PgConnection;

/// Counters that are as if nothing had been tried.
pub async fn throttles(connection: &mut PgConnection, at_most: i64) -> sqlx::Result<u64> {
    let gone = sqlx::query!(
        r#"
        DELETE FROM throttles
         WHERE (action, subject) IN (
               SELECT action, subject
                 FROM throttles
                WHERE forget_at <= now()
                ORDER BY forget_at
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
           AND forget_at <= now()
        "#,
        at_most,
    )
    .execute(connection)
    .await?;
    Ok(gone.rows_affected())
}

/// Links that are good no longer.
pub async fn email_tokens(connection: &mut PgConnection, at_most: i64) -> sqlx::Result<u64> {
    let gone = sqlx::query!(
        r#"
        DELETE FROM email_tokens
         WHERE token_digest IN (
               SELECT token_digest
                 FROM email_tokens
                WHERE expires_at <= now()
                ORDER BY expires_at
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
           AND expires_at <= now()
        "#,
        at_most,
    )
    .execute(connection)
    .await?;
    Ok(gone.rows_affected())
}

/// People who never showed that the address is theirs.
pub async fn registrations(connection: &mut PgConnection, at_most: i64) -> sqlx::Result<u64> {
    let gone = sqlx::query!(
        r#"
        DELETE FROM registrations
         WHERE id IN (
               SELECT id
                 FROM registrations
                WHERE expires_at <= now()
                ORDER BY expires_at
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
           AND expires_at <= now()
        "#,
        at_most,
    )
    .execute(connection)
    .await?;
    Ok(gone.rows_affected())
}

/// Requests that nobody answered for a day; they are answered within a second where a server runs.
pub async fn recovery_requests(connection: &mut PgConnection, at_most: i64) -> sqlx::Result<u64> {
    let gone = sqlx::query!(
        r#"
        DELETE FROM recovery_requests
         WHERE id IN (
               SELECT id
                 FROM recovery_requests
                WHERE created_at <= now() - interval '1 day'
                ORDER BY id
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        "#,
        at_most,
    )
    .execute(connection)
    .await?;
    Ok(gone.rows_affected())
}
