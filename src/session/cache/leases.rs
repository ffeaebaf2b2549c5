//! The row of this server in `session_caches`, and what it sends on the notification channel: heartbeats,
//! probes and confirmations. Owns the table `session_caches`.
//!
//! A heartbeat renews the lease of the cache for [`LEASE`]. Other servers must know of it before it is used,
//! so it is covered by `trusted_until` of the row, which is written for [`ROW_LEASE`] ahead and renewed only
//! when less than [`RENEW_BELOW`] is left: every ten seconds. Every heartbeat reads the row in its own
//! statement, so a row that was shortened, deleted, or that expired because the clock of the database was set
//! forward, is written again by the next heartbeat.
//!
//! Only the renewal of the row waits until it is on disk: after a crash of PostgreSQL, other servers must
//! still find it. Everything else uses `synchronous_commit = off`. A crash ends the connection of every
//! listener, and a lost confirmation only makes another server wait longer.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener};
use sqlx::{Connection as _, Executor as _, PgExecutor, PgPool};
use uuid::Uuid;

use crate::db;

/// How long the cache is live after a heartbeat that was received back, measured from when it was sent.
pub const LEASE: Duration = Duration::from_secs(3);
/// Allows for the difference in speed of two clocks over one lease, and for rounding to milliseconds.
pub(in crate::session) const MARGIN: Duration = Duration::from_millis(30);
/// For how long a server claims to use its cache. `session_caches_keep_lease()` has the same number.
pub(super) const ROW_LEASE: Duration = Duration::from_secs(15);
/// The row is renewed if less than this is left: the lease of a heartbeat, and time for its statement.
const RENEW_BELOW: Duration = Duration::from_secs(LEASE.as_secs() + 2);

/// The name of the channel, as the triggers build it from the schema of the tables. The search path may start
/// with a different schema.
pub(in crate::session) async fn channel(executor: impl PgExecutor<'_>) -> sqlx::Result<String> {
    sqlx::query_scalar!(
        r#"
        SELECT notification_channel(n.nspname) AS "channel!"
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = 'sessions'::regclass
        "#
    )
    .fetch_one(executor)
    .await
}

/// Notifies the channel with `payload`, over a new connection with the same options as those of the request
/// pool.
pub(in crate::session) async fn notify(
    options: &PgConnectOptions,
    payload: &str,
) -> anyhow::Result<()> {
    let mut connection = db::connect_to_primary(options).await?;
    let channel = channel(&mut connection).await?;
    sqlx::query!("SELECT pg_notify($1, $2)::text", channel, payload)
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

/// The numbers that a heartbeat read when it was sent.
pub(in crate::session) struct Heartbeat {
    /// The last number that was drawn for a request for confirmation.
    pub(in crate::session) last_drawn: i64,
    /// The number of changes without a notification.
    pub(in crate::session) resets: i64,
}

/// Sends a heartbeat: notifies this server, and renews its row if necessary, so that other servers wait for
/// this one. A newly inserted row has no confirmation. When the heartbeat is received back, all numbers that
/// were drawn before it was sent are confirmed.
pub(in crate::session) async fn send_heartbeat(
    listener: &mut PgListener,
    channel: &str,
    own: Uuid,
    nonce: Uuid,
) -> sqlx::Result<Heartbeat> {
    let sent = sqlx::query!(
        r#"
        WITH renewed AS (
             INSERT INTO session_caches (id, trusted_until)
             SELECT $1::uuid, clock_timestamp() + make_interval(secs => $2)
              WHERE NOT EXISTS (
                    SELECT
                      FROM session_caches
                     WHERE id = $1
                       AND trusted_until > clock_timestamp() + make_interval(secs => $5))
                 ON CONFLICT (id) DO UPDATE SET trusted_until = EXCLUDED.trusted_until
             RETURNING id)
        SELECT pg_notify($4, 'beat:' || $1::uuid || ':' || $3::uuid)::text,
               CASE WHEN NOT EXISTS (SELECT FROM renewed) THEN set_config('synchronous_commit', 'off', true) END,
               (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM session_asks) AS "asked!",
               COALESCE((SELECT resets FROM session_cache_resets), 0) AS "resets!"
        "#,
        own,
        ROW_LEASE.as_secs_f64(),
        nonce,
        channel,
        RENEW_BELOW.as_secs_f64(),
    )
    .fetch_one(listener)
    .await?;
    Ok(Heartbeat { last_drawn: sent.asked, resets: sent.resets })
}

/// Returns the last number drawn, and sends a notification to this server. Others count it as a heartbeat of
/// this server.
pub(in crate::session) async fn send_probe(
    listener: &mut PgListener,
    channel: &str,
    own: Uuid,
    nonce: Uuid,
) -> sqlx::Result<i64> {
    let sent = sqlx::query!(
        r#"
        SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS "asked!",
               pg_notify($1, 'beat:' || $2::uuid || ':' || $3::uuid)::text,
               set_config('synchronous_commit', 'off', true)
          FROM session_asks
        "#,
        channel,
        own,
        nonce,
    )
    .fetch_one(listener)
    .await?;
    Ok(sent.asked)
}

/// Confirms that this server has processed all changes that were committed before `number` was drawn. Returns
/// `false` and confirms nothing if a change without a notification was committed since `resets` was read.
pub(in crate::session) async fn confirm(
    listener: &mut PgListener,
    own: Uuid,
    number: i64,
    resets: Option<i64>,
) -> sqlx::Result<bool> {
    let confirmation = sqlx::query!(
        r#"
        UPDATE session_caches
           SET answered = $2
         WHERE id = $1
           AND COALESCE((SELECT resets FROM session_cache_resets), 0) = $3
           AND set_config('synchronous_commit', 'off', true) IS NOT NULL
        "#,
        own,
        number,
        resets,
    );
    Ok(listener.execute(confirmation).await?.rows_affected() == 1)
}

/// Removes a server that has stopped, and those whose lease expired more than a day ago.
pub(in crate::session) async fn deregister(pool: &PgPool, own: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM session_caches
         WHERE id = $1
            OR trusted_until < now() - interval '1 day'
        "#,
        own,
    )
    .execute(db::on(pool))
    .await?;
    Ok(())
}
