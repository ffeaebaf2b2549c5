//! Deletes expired rows in bounded batches, in the caller's transaction.

use sqlx::PgConnection;

/// Defines a function that deletes up to `limit` rows of `$table` for which `$expired` holds, in the order of
/// `$order` and without the first `skipped`, and returns how many. Rows that another transaction has locked are
/// skipped. `$expired` is evaluated again when the row is deleted, because the row may have changed after it
/// was selected.
macro_rules! purge {
    ($(#[$doc:meta])* $name:ident: $table:tt, $key:tt, $expired:tt, $order:tt) => {
        $(#[$doc])*
        pub async fn $name(
            connection: &mut PgConnection,
            limit: i64,
            skipped: i64,
        ) -> sqlx::Result<u64> {
            let deleted = sqlx::query!(
                "DELETE FROM " + $table + " WHERE (" + $key + ") IN (SELECT " + $key + " FROM " + $table
                    + " WHERE " + $expired + " ORDER BY " + $order + " LIMIT $1 OFFSET $2 FOR UPDATE SKIP LOCKED) AND "
                    + $expired,
                limit,
                skipped,
            )
            .execute(connection)
            .await?;
            Ok(deleted.rows_affected())
        }
    };
}

purge! {
    /// Rate-limit counters that have expired. A `forget_at` further ahead than any limit allows was stored before
    /// PostgreSQL's clock was set back.
    rate_limit_counters: "throttles", "action, subject",
        "(forget_at <= now() OR forget_at > now() + interval '2 days')", "forget_at"
}
purge! {
    /// Mailed links that have expired.
    email_tokens: "email_tokens", "token_digest", "expires_at <= now()", "expires_at"
}
purge! {
    /// Registrations whose email was not verified in time.
    registrations: "registrations", "id", "expires_at <= now()", "expires_at"
}
purge! {
    /// Invitations that were not accepted in time.
    invitations: "invitations", "id", "expires_at <= now()", "expires_at"
}
purge! {
    /// Password-reset requests that no server processed for a day. While a server runs, they are processed
    /// within seconds.
    recovery_requests: "recovery_requests", "id", "created_at <= now() - interval '1 day'", "id"
}
