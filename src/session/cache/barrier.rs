//! Waits until a revocation is in effect on every server. Owns the table `session_caches`.
//!
//! ```text
//!   revoking server                PostgreSQL                  every server with a live cache
//!   ───────────────                ──────────                  ──────────────────────────────
//!                                  session_caches ◄─heartbeat─ each second: trusted_until = now + 3 s
//!   DELETE …; COMMIT  ──────────►  NOTIFY sessions:…  ──────►  invalidates the entry
//!   invalidates its own entry
//!   reads the other leases ─────►  rows with trusted_until > now
//!   draws n, sends ask:n  ──────►  NOTIFY ask:n       ──────►  reads the last number of the sequence,
//!                                  NOTIFY beat:…      ◄──────  and notifies itself
//!                                                     ──────►  receives that: the invalidation came before it,
//!                                  answered = n       ◄──────  because notifications arrive in commit order
//!   waits until answered ≥ n for every server, or until every lease that it read has expired
//!   ── only now the response is sent
//! ```
//!
//! # Why this is correct
//!
//! Let the revocation commit at time C. Let S be a server whose lease covers some time after C. S has the
//! lease from one of its own heartbeats, B.
//!
//! 1. If B committed after C, S received the notification of C before that of B, and has invalidated the
//!    entry.
//! 2. If B committed before C, the row of S was there when the revoking server read the leases, after C. It
//!    waits for S.
//! 3. S confirms n only after it has received its own notification, which it sent after it had read from the
//!    sequence that n was drawn. The revoking server drew n after C, so C committed before that notification,
//!    and S has processed C. A higher number was drawn later, so its confirmation implies the same. The
//!    message `ask:n` only triggers that read: any login of the database can send it, and it has no other
//!    effect. A confirmation above the last number drawn is ignored.
//! 4. Without a confirmation, the revoking server waits for the duration `trusted_until` minus now, which the
//!    database computed after C. S measures its lease from before it sent the heartbeat, so the lease of S
//!    ends no later. The wait is never longer than one lease from the start of the wait, which was after C:
//!    by then a lease from before C has expired, and one from after C belongs to a server that has processed
//!    C. The same holds if the query that reads the leases fails. A row that is further ahead than a lease
//!    (the database's clock was set back, or the row was written by hand) is treated as one lease from now
//!    and is corrected.
//! 5. A change that was committed without a notification, because the notification queue was full,
//!    incremented `session_cache_resets` in its transaction. A heartbeat that started after C reads the
//!    number before it renews a lease, and S confirms only while the number is the one for which it has
//!    already invalidated its cache. So points 1 to 4 hold with "read the number" in place of "received the
//!    notification".
//!
//! # Assumptions about the connections
//!
//! The tests of these assumptions are in `tests/it/standby.rs` and `tests/it/foreign_logins.rs`.
//!
//! * The revocation is committed, and the leases are read, on the same primary that sends the servers'
//!   notifications. Connections to a standby are refused when they are opened, and the statements here fail
//!   in recovery: on a standby that lags behind, `session_caches` would list no server. A server whose
//!   notifications come from another PostgreSQL than its look-ups caches nothing (`entries.rs`). There is one
//!   primary at a time; fencing a former primary is the task of the cluster manager.
//! * Clocks: only durations are compared, each measured by one clock. If a clock is set forward in the same
//!   second in which a connection breaks, a wait can be shortened by that amount.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgListener};
use sqlx::{Connection as _, Executor as _, PgExecutor, PgPool};
use uuid::Uuid;

use crate::db;

/// How long the cache is live after a heartbeat that was received back, measured from when it was sent.
pub const LEASE: Duration = Duration::from_secs(3);
/// Allows for the difference in speed of two clocks over one lease, and for rounding to milliseconds.
const MARGIN: Duration = Duration::from_millis(30);
/// The initial and the maximum pause between queries for confirmations. The pause doubles each time.
const POLL_PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Waits until no server can accept a session whose revocation was committed before the call. Takes at most
/// one lease. `own` is the id of the calling server, which has already invalidated its own cache; `None` for
/// a command.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn await_invalidation(pool: &PgPool, own: Option<Uuid>) {
    let started_at = Instant::now();
    let request = tokio::time::timeout(LEASE, request_confirmation(pool, own)).await;
    let until = match request {
        Ok(Ok(None)) => return,
        Ok(Ok(Some(Request { number, longest_lease }))) => {
            let until = (Instant::now() + longest_lease).min(started_at + LEASE) + MARGIN;
            let confirmed = wait_for_confirmations(pool, own, number);
            if tokio::time::timeout_at(until.into(), confirmed).await == Ok(true) {
                return;
            }
            until
        }
        // The leases are unknown. After one lease, every lease from before the call has expired.
        Ok(Err(_)) | Err(_) => started_at + LEASE + MARGIN,
    };
    tokio::time::sleep_until(until.into()).await;
    tracing::warn!(
        waited = format!("{:.1}", started_at.elapsed().as_secs_f64()),
        "a server did not confirm that it invalidated a revoked session; its lease has expired now"
    );
}

/// A request for confirmation that was sent to the other servers.
struct Request {
    number: i64,
    /// How long the longest lease of another server lasts.
    longest_lease: Duration,
}

/// Reads the leases of the other servers and requests their confirmation. `None` if no other server has a
/// lease. Fails on a standby: `pg_current_wal_insert_lsn()` fails in recovery, before any row is read.
async fn request_confirmation(pool: &PgPool, own: Option<Uuid>) -> sqlx::Result<Option<Request>> {
    let sent = sqlx::query!(
        r#"
        WITH corrected AS (
             UPDATE session_caches
                SET trusted_until = clock_timestamp() + make_interval(secs => $2)
              WHERE id IN (
                    SELECT id
                      FROM session_caches
                     WHERE trusted_until > clock_timestamp() + make_interval(secs => $2)
                       FOR UPDATE SKIP LOCKED)),
             others AS MATERIALIZED (
             SELECT max(LEAST(trusted_until, clock_timestamp() + make_interval(secs => $2)) - clock_timestamp()) AS longest
               FROM session_caches
              WHERE (SELECT pg_current_wal_insert_lsn()) IS NOT NULL
                AND trusted_until > clock_timestamp()
                AND id IS DISTINCT FROM $1),
             question AS MATERIALIZED (
             SELECT nextval('session_asks') AS number, EXTRACT(EPOCH FROM longest)::float8 AS left_over
               FROM others
              WHERE longest IS NOT NULL)
        SELECT number AS "number!",
               left_over AS "left_over!",
               pg_notify('frontdesk.' || left(n.nspname, 50), 'ask:' || number)::text
          FROM question
          JOIN pg_class c ON c.oid = 'sessions'::regclass
          JOIN pg_namespace n ON n.oid = c.relnamespace
        "#,
        own,
        LEASE.as_secs_f64(),
    )
    .fetch_optional(db::on(pool))
    .await?;
    Ok(sent.map(|row| Request {
        number: row.number,
        longest_lease: Duration::from_secs_f64(row.left_over.max(0.0)),
    }))
}

/// Returns `true` once every server with a lease has confirmed `number`, or `false` if a query fails.
async fn wait_for_confirmations(pool: &PgPool, own: Option<Uuid>, number: i64) -> bool {
    let mut pause = POLL_PAUSES.0;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(POLL_PAUSES.1);
        let is_waiting = sqlx::query_scalar!(
            r#"
            SELECT EXISTS (
                   SELECT
                     FROM session_caches, session_asks
                    WHERE (SELECT pg_current_wal_insert_lsn()) IS NOT NULL
                      AND trusted_until > clock_timestamp()
                      AND NOT answered BETWEEN $2 AND last_value
                      AND id IS DISTINCT FROM $1) AS "silent!"
            "#,
            own,
            number,
        )
        .fetch_one(db::on(pool))
        .await;
        match is_waiting {
            Ok(false) => return true,
            Ok(true) => {}
            Err(_) => return false,
        }
    }
}

/// The name of the channel, as the triggers build it from the schema of the tables. The search path may start
/// with a different schema.
pub(in crate::session) async fn channel(executor: impl PgExecutor<'_>) -> sqlx::Result<String> {
    sqlx::query_scalar!(
        r#"
        SELECT 'frontdesk.' || left(n.nspname, 50) AS "channel!"
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

/// Sends a heartbeat: writes the lease, so that other servers wait for this one, and notifies this server. A
/// newly inserted row has no confirmation. When the heartbeat is received back, all numbers that were drawn
/// before it was sent are confirmed.
pub(in crate::session) async fn send_heartbeat(
    listener: &mut PgListener,
    channel: &str,
    own: Uuid,
    nonce: Uuid,
    lease: Duration,
) -> sqlx::Result<Heartbeat> {
    let sent = sqlx::query!(
        r#"
        WITH beat AS (
             INSERT INTO session_caches (id, trusted_until)
             VALUES ($1, clock_timestamp() + make_interval(secs => $2))
                 ON CONFLICT (id) DO UPDATE SET trusted_until = EXCLUDED.trusted_until
             RETURNING id)
        SELECT pg_notify($4, 'beat:' || id || ':' || $3::uuid)::text,
               (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM session_asks) AS "asked!",
               COALESCE((SELECT resets FROM session_cache_resets), 0) AS "resets!"
          FROM beat
        "#,
        own,
        lease.as_secs_f64(),
        nonce,
        channel,
    )
    .fetch_one(listener)
    .await?;
    Ok(Heartbeat { last_drawn: sent.asked, resets: sent.resets })
}

/// Returns the last number drawn, and sends a notification that only the server `own` recognizes.
pub(in crate::session) async fn send_probe(
    listener: &mut PgListener,
    channel: &str,
    own: Uuid,
    nonce: Uuid,
) -> sqlx::Result<i64> {
    let sent = sqlx::query!(
        r#"
        SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS "asked!",
               pg_notify($1, 'beat:' || $2::uuid || ':' || $3::uuid)::text
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
