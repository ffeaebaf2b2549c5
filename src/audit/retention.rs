//! Deletes old audit events and removes personal data from those of deleted accounts. Both call functions in
//! the database, because the application role has no UPDATE or DELETE privilege on `audit_events`.

use std::time::Duration;

use sqlx::PgConnection;

use crate::id::UserId;

/// Removes IP address, user agent, session and request id from the events of `user`. Call it in the
/// transaction that deletes the account, after the deletion: the database function does nothing while the
/// account exists.
pub async fn anonymize(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    sqlx::query_scalar!("SELECT audit_events_anonymize($1)", user as UserId)
        .fetch_one(connection)
        .await?;
    Ok(())
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
