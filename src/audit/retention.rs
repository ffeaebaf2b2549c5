//! Deletes old audit events and removes personal data from those of deleted accounts and from those without a
//! user. All of it calls functions in the database, because the application role has no UPDATE or DELETE privilege
//! on `audit_events`.

use std::time::Duration;

use sqlx::PgConnection;

use crate::id::UserId;

/// Removes IP address, user agent, session and request id from the events of `user`, and from events without a user
/// that came from the same browser and IP address (a sign-in with a mistyped email). Call it in the transaction that
/// deletes the account, after the deletion: the database function does nothing while the account exists.
pub async fn anonymize(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    sqlx::query_scalar!("SELECT audit_events_anonymize($1)", user as UserId)
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// Anonymizes the events that were recorded during or after the deletion of their account, by requests that were
/// in progress, and those of accounts that another client of the database deleted. Looks at the deletions of the
/// last week. Returns how many.
pub async fn anonymize_late(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let changed = sqlx::query_scalar!(r#"SELECT audit_events_anonymize_late() AS "changed!""#)
        .fetch_one(connection)
        .await?;
    Ok(changed.unsigned_abs())
}

/// Removes IP address, user agent and request id from at most `limit` events without a user that are older than a
/// week, such as a sign-in with an unknown email: nothing would remove them with an account. Returns how many.
pub async fn anonymize_without_user(
    connection: &mut PgConnection,
    limit: i64,
) -> sqlx::Result<u64> {
    let changed = sqlx::query_scalar!(
        r#"SELECT audit_events_anonymize_without_user($1) AS "changed!""#,
        i32::try_from(limit).unwrap_or(i32::MAX),
    )
    .fetch_one(connection)
    .await?;
    Ok(changed.unsigned_abs())
}

/// Deletes at most `limit` events that are older than `retention`, and returns how many. The database
/// function never deletes events of the last week.
pub async fn purge(
    connection: &mut PgConnection,
    retention: Duration,
    limit: i64,
) -> sqlx::Result<u64> {
    let deleted = sqlx::query_scalar!(
        r#"SELECT audit_events_forget(make_interval(secs => $1), $2) AS "gone!""#,
        retention.as_secs_f64(),
        i32::try_from(limit).unwrap_or(i32::MAX),
    )
    .fetch_one(connection)
    .await?;
    Ok(deleted.unsigned_abs())
}

/// Deletes at most `limit` rows of `ended_sessions` that are older than a week, and returns how many.
pub async fn purge_ended_sessions(connection: &mut PgConnection, limit: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM ended_sessions
         WHERE token_digest IN (
               SELECT token_digest
                 FROM ended_sessions
                WHERE ended_at <= now() - interval '7 days'
                ORDER BY ended_at
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        "#,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}
