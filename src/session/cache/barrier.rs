//! Waiting until the end of a session is final everywhere: promise 3. Owns the table `session_caches`.
//!
//! ```text
//!   who ends a session                PostgreSQL                 every server that serves from memory
//!   ──────────────────                ──────────                 ────────────────────────────────────
//!                                     session_caches ◄── beat ── each second: trusted_until = now + 3 s
//!   DELETE …; COMMIT  ─────────────►  NOTIFY sessions:…  ─────►  forgets
//!   forgets it itself
//!   who may still know it? ────────►  rows with trusted_until > now
//!   draws number n, asks   ────────►  NOTIFY ask:n       ─────►  reads that n was drawn, and
//!                                     NOTIFY beat:…      ◄─────  notifies itself
//!                                                        ─────►  (has forgotten, for notifications come in
//!                                     answered = n  ◄─────────    the order of commits)  answers n
//!   until all have answered ≥ n, or until every lease that it saw is certainly over
//!   ── only now the answer goes out
//! ```
//!
//! Why it is right. Let the end commit at C. A server S whose lease covers some moment after C got it from a
//! heartbeat B of its own.
//!
//! 1. If B committed after C, then S heard of C before B came back, and has forgotten.
//! 2. If B committed before C, its row was there when we asked, after C: we saw S, and wait for it.
//! 3. S answers n only after a notification of its own came back that it had sent after it read in the sequence that n
//!    was drawn. We drew n after C, so C committed before that notification did, and S has processed it. A higher number
//!    was drawn later, so it says the same. The message `ask:n` only makes S look: any login may send it, and nothing
//!    follows from it. An answer above the last number drawn is not an answer.
//! 4. If no answer comes, we wait until the database's own "trusted_until minus now", taken after C, has passed here: S
//!    took its lease from the moment before it sent the heartbeat, so it ended no later. We never wait longer than one
//!    lease from when we began, which was after C: a lease from before C is over by then, and one from after C is of a
//!    server that heard of C. The same holds if the question cannot be asked. A row further ahead than a lease (the
//!    database's clock was set back, or the row was written by hand) counts as one lease from now and is corrected.
//! 5. A change that was committed without a notification, because the notification queue was full, counted up
//!    `session_cache_resets` in its transaction. A heartbeat that began after C reads that before it renews a lease, and
//!    S answers only while it reads the number that it has acted on. So 1 to 4 hold with "read the number" for "heard".
//!
//! What is assumed of the connections, and the test that holds it (`tests/it/standby.rs`, `tests/it/foreign_logins.rs`):
//!
//! * The end was committed, and the question is asked, on the same primary that the servers' notifications come from.
//!   Connections to a standby are refused when they are made, and the statements here fail in recovery: on a standby that
//!   is behind, `session_caches` would list no server. A server whose notifications come from another PostgreSQL than its
//!   look-ups caches nothing (`cache.rs`). There is one primary at a time; fencing a former primary is the cluster manager's
//!   task.
//! * Clocks: only spans are compared, the database's with the database's and ours with ours. One that is set forward in
//!   the very second of a broken link could make a wait too short by that much.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgListener};
use sqlx::{Connection as _, Executor as _, PgExecutor, PgPool};
use uuid::Uuid;

use crate::db;

/// How long a heartbeat that came back is believed, from the moment it was sent.
pub const LEASE: Duration = Duration::from_secs(3);
/// For the difference in speed of two clocks over one lease, and for the rounding to milliseconds.
const MARGIN: Duration = Duration::from_millis(30);
/// Between looks at the answers, doubled up to the last.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Returns once no server can accept a session whose end was committed before the call. `own` is this server, which has
/// forgotten already; `None` for a command. Takes a lease at most.
pub async fn await_invalidation(pool: &PgPool, own: Option<Uuid>) {
    let began = Instant::now();
    let asked = tokio::time::timeout(LEASE, ask(pool, own)).await;
    let until = match asked {
        Ok(Ok(None)) => return,
        Ok(Ok(Some((number, left)))) => {
            let until = (Instant::now() + left).min(began + LEASE) + MARGIN;
            let answered = wait(pool, own, number);
            if tokio::time::timeout_at(until.into(), answered).await == Ok(true) {
                return;
            }
            until
        }
        // Not asked: every lease from before is over after one.
        Ok(Err(_)) | Err(_) => began + LEASE + MARGIN,
    };
    tokio::time::sleep_until(until.into()).await;
    tracing::warn!(
        waited = format!("{:.1}", began.elapsed().as_secs_f64()),
        "a server did not say that it has forgotten an ended session; its lease is over now"
    );
}

/// The number of the question and how long the longest lease of another server lasts; `None` if there is no other. An
/// error on a standby: `pg_current_wal_insert_lsn()` fails in recovery, before anything is read.
async fn ask(pool: &PgPool, own: Option<Uuid>) -> sqlx::Result<Option<(i64, Duration)>> {
    let asked = sqlx::query!(
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
    .fetch_optional(pool)
    .await?;
    Ok(asked.map(|row| (row.number, Duration::from_secs_f64(row.left_over.max(0.0)))))
}

/// Whether all answered; `false` when the database went away.
async fn wait(pool: &PgPool, own: Option<Uuid>, number: i64) -> bool {
    let mut pause = LOOKS.0;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOKS.1);
        let silent = sqlx::query_scalar!(
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
        .fetch_one(pool)
        .await;
        match silent {
            Ok(false) => return true,
            Ok(true) => {}
            Err(_) => return false,
        }
    }
}

/// The channel of the schema that the tables are in, as the triggers name it: the first schema of the search path may be
/// another.
pub(in crate::session) async fn channel(at: impl PgExecutor<'_>) -> sqlx::Result<String> {
    sqlx::query_scalar!(
        r#"
        SELECT 'frontdesk.' || left(n.nspname, 50) AS "channel!"
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = 'sessions'::regclass
        "#
    )
    .fetch_one(at)
    .await
}

/// Sends `word` on the channel, as a page does that changes something: by a connection like those of pages.
pub(in crate::session) async fn notify(pages: &PgConnectOptions, word: &str) -> anyhow::Result<()> {
    let mut connection = db::connect_to_primary(pages).await?;
    let channel = channel(&mut connection).await?;
    sqlx::query!("SELECT pg_notify($1, $2)::text", channel, word)
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

/// What a heartbeat read.
pub(in crate::session) struct Heartbeat {
    /// The last question that has been drawn.
    pub(in crate::session) asked: i64,
    /// How many changes were committed without a notification.
    pub(in crate::session) resets: i64,
}

/// Sends a heartbeat: with it, others know that they have to wait for us. A new row has answered nothing; the heartbeat's
/// own return answers every question that was drawn before it.
pub(in crate::session) async fn heartbeat(
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
    Ok(Heartbeat { asked: sent.asked, resets: sent.resets })
}

/// Returns the number of the last question drawn, and sends a notification that only `own` recognizes.
pub(in crate::session) async fn probe(
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

/// Says that everything that was committed before question `asked` is forgotten here. `false` if something was changed
/// without a notification since `resets` was read.
pub(in crate::session) async fn answer(
    listener: &mut PgListener,
    own: Uuid,
    asked: i64,
    resets: Option<i64>,
) -> sqlx::Result<bool> {
    let answer = sqlx::query!(
        r#"
        UPDATE session_caches
           SET answered = $2
         WHERE id = $1
           AND COALESCE((SELECT resets FROM session_cache_resets), 0) = $3
        "#,
        own,
        asked,
        resets,
    );
    Ok(listener.execute(answer).await?.rows_affected() == 1)
}

/// Takes a server that stopped off the list, and those that have been silent for a day.
pub(in crate::session) async fn leave(pool: &PgPool, own: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM session_caches
         WHERE id = $1
            OR trusted_until < now() - interval '1 day'
        "#,
        own,
    )
    .execute(pool)
    .await?;
    Ok(())
}
