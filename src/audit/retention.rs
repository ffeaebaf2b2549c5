//! How long audit events are kept, and what is kept of a deleted account. The functions of the database refuse
//! everything else.

use std::time::Duration;

use sqlx::PgConnection;

use crate::id::UserId;

/// Takes address, browser and session from the events of a person whose account is gone, in the transaction that
/// deletes it.
pub async fn anonymize(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    sqlx::query_scalar!("SELECT audit_events_anonymize($1)", user as UserId)
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// Forgets at most so many events that are older than `keep`; never any of the last week.
pub async fn forget(
    connection: &mut PgConnection,
    keep: Duration,
    at_most: i64,
) -> sqlx::Result<u64> {
    let gone = sqlx::query_scalar!(
        r#"SELECT audit_events_forget(make_interval(secs => $1), $2) AS "gone!""#,
        keep.as_secs_f64(),
        i32::try_from(at_most).unwrap_or(i32::MAX),
    )
    .fetch_one(connection)
    .await?;
    Ok(gone.unsigned_abs())
}
