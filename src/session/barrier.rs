//! Waiting until an end is final everywhere: promise 3. Owns the table `session_caches`.
//!
//! ```text
//!   who ends a session                PostgreSQL                 every server that serves from memory
//!   ──────────────────                ──────────                 ────────────────────────────────────
//!                                     session_caches ◄── beat ── each second: trusted_until = now + 3 s
//!   DELETE …; COMMIT  ─────────────►  NOTIFY sessions:…  ─────►  forgets
//!   forgets it itself
//!   who may still know it? ────────►  rows with trusted_until > now
//!   draws number n, asks   ────────►  NOTIFY ask:n       ─────►  (has forgotten, for notifications come in
//!                                     answered = n  ◄─────────    the order of commits)  answers n
//!   until all have answered ≥ n, or until every lease that it saw is certainly over
//!   ── only now the answer goes out
//! ```
//!
//! Why it is right. Let the end commit at C. A server S whose lease covers some moment after C got it from a
//! beat B of its own. If B committed after C, then S heard of C before B came back, and has forgotten. If B
//! committed before C, its row was there when we asked, after C: we saw S, and wait for it. S answers n
//! only after it has processed everything committed before the question, C included; a higher number was
//! drawn and asked later, so it says the same. If no answer comes, we wait until the database's own
//! "trusted_until minus now", taken after C, has passed here: S took its lease from the moment before it
//! sent the beat, so it ended no later. And never for longer than one lease from when we began, which was
//! after C: a lease from a beat before C is over by then, and one from a beat after C is of a server that
//! heard of C. So it is too when the question can not even be asked.
//!
//! Clocks: only spans are compared, the database's with the database's and ours with ours. A step of the
//! database's clock backwards makes no wait longer than a lease; one forward in the very second of a broken
//! link could make a wait too short by it.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgListener};
use sqlx::{Connection as _, Executor as _, PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use super::feed::LEASE;

/// For the difference in speed of two clocks over one lease, and for the rounding to milliseconds.
const MARGIN: Duration = Duration::from_millis(30);
/// Between looks at the answers, doubled up to the last.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Returns when no server can accept what was committed as ended before the call. `own` is this server,
/// which has forgotten by itself; `None` for a command. Takes a lease at most.
pub async fn settle(pool: &PgPool, own: Option<Uuid>) {
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

/// The number of the question and how long the longest lease of another server lasts; `None` when there is
/// no other.
async fn ask(pool: &PgPool, own: Option<Uuid>) -> sqlx::Result<Option<(i64, Duration)>> {
    let asked = sqlx::query!(
        r#"
        WITH others AS MATERIALIZED (
             SELECT max(trusted_until - clock_timestamp()) AS longest
               FROM session_caches
              WHERE trusted_until > clock_timestamp()
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
                   SELECT FROM session_caches
                    WHERE trusted_until > clock_timestamp()
                      AND answered < $2
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
pub(super) async fn channel(at: impl PgExecutor<'_>) -> sqlx::Result<String> {
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

/// Says `word` to whoever listens, as a page does that changes something: by a connection like those of pages.
pub(super) async fn say(pages: &PgConnectOptions, word: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect_with(pages).await?;
    let channel = channel(&mut connection).await?;
    sqlx::query!("SELECT pg_notify($1, $2)::text", channel, word)
        .fetch_one(&mut connection)
        .await?;
    connection.close().await
}

/// Sends a beat: with it, others know that they have to wait for us. The first beat of a server answers every
/// question that was drawn before it: the server forgot everything before it sent it, and serves only after
/// it came back.
pub(super) async fn beat(
    listener: &mut PgListener,
    channel: &str,
    own: Uuid,
    number: u64,
    lease: Duration,
) -> sqlx::Result<()> {
    let beat = sqlx::query!(
        r#"
        WITH beat AS (
             INSERT INTO session_caches AS c (id, trusted_until, answered)
             SELECT $1,
                    clock_timestamp() + make_interval(secs => $2),
                    CASE WHEN is_called THEN last_value ELSE 0 END
               FROM session_asks
                 ON CONFLICT (id) DO UPDATE SET trusted_until = GREATEST(c.trusted_until, EXCLUDED.trusted_until)
             RETURNING id)
        SELECT pg_notify($4, 'beat:' || id || ':' || $3::text)::text
          FROM beat
        "#,
        own,
        lease.as_secs_f64(),
        number.to_string(),
        channel,
    );
    listener.execute(beat).await?;
    Ok(())
}

/// Says that everything committed before question `number` is forgotten here.
pub(super) async fn answer(listener: &mut PgListener, own: Uuid, number: i64) -> sqlx::Result<()> {
    let answer = sqlx::query!(
        "UPDATE session_caches SET answered = GREATEST(answered, $2) WHERE id = $1",
        own,
        number,
    );
    listener.execute(answer).await?;
    Ok(())
}

/// Takes a server that stopped off the list, and those that have been silent for a day.
pub(super) async fn leave(pool: &PgPool, own: Uuid) -> sqlx::Result<()> {
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
