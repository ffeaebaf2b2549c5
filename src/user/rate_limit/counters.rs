//! Rows of `throttles`: counts and refunds attempts, and deletes counters. Independent of actions and limits.
//!
//! A counter is in a wait if all of these hold. The first, the third and the upper bound in the second exclude
//! times that were stored before PostgreSQL's clock was set back.
//!
//! * It has attempts: a counter at zero never waits.
//! * `free_at` is in the future, and no further ahead than the longest wait of its limit.
//! * Its last attempt is not in the future.

use sqlx::{PgConnection, PgExecutor, PgPool};
use time::OffsetDateTime;

use super::limits::Limit;
use crate::db;
use crate::session::{Lock, Requester, SessionEnded};

/// How long an attempt counts as in flight, in seconds. Longer than the deadline of a form (`web/outer.rs`), so
/// that only an attempt whose server has died counts as in flight without being it.
const IN_FLIGHT_SECONDS: f64 = 60.0;

/// A counter as it was after this attempt.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) key: Key,
    pub(super) attempts: i32,
    /// The wait that this attempt started, in seconds.
    pub(super) wait: f64,
    /// For a shared counter: which attempts in flight this one belongs to (`throttles.in_flight_since`).
    pub(super) in_flight_since: Option<OffsetDateTime>,
}

/// The kind of subject that a counter belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Account,
    Ip,
    Pair,
    Device,
    Mail,
}

impl By {
    pub(super) const ALL: [Self; 5] =
        [Self::Account, Self::Ip, Self::Pair, Self::Device, Self::Mail];

    /// The name in `throttles.action`, in subjects and in the audit log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            By::Account => "account",
            By::Ip => "address",
            By::Pair => "pair",
            By::Device => "device",
            By::Mail => "mail",
        }
    }
}

/// The primary key of a counter, and its limit.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) by: By,
    pub(super) action: String,
    pub(super) subject: Vec<u8>,
    pub(super) limit: Limit,
}

/// The outcome of counting.
pub(super) enum CountOutcome {
    /// Counted for every key, in their order.
    Counted(Vec<Counted>),
    /// Not counted, because at least one key is in a wait that lasts this long.
    Waiting { seconds: f64 },
}

/// Why counting failed for all keys.
pub(super) enum CountError {
    /// A concurrent attempt used the last free one between the check and the update.
    Race,
    Database(sqlx::Error),
}

impl From<sqlx::Error> for CountError {
    fn from(error: sqlx::Error) -> Self {
        CountError::Database(error)
    }
}

impl db::Failure for CountError {
    fn database_error(&self) -> Option<&sqlx::Error> {
        match self {
            CountError::Race => None,
            CountError::Database(error) => Some(error),
        }
    }
}

/// Counts for all of `keys` or for none of them, on behalf of `requester` if there is one: an attempt of a
/// session that has ended is not counted.
pub(super) async fn count(
    pool: &PgPool,
    requester: Option<&Requester>,
    keys: Vec<Key>,
) -> Result<Result<CountOutcome, SessionEnded>, CountError> {
    match requester {
        None => db::transaction(pool, move |connection| Box::pin(count_in(connection, keys)))
            .await
            .map(Ok),
        Some(requester) => {
            requester
                .transaction(pool, Lock::Session, move |connection| {
                    Box::pin(count_in(connection, keys))
                })
                .await
        }
    }
}

/// Like [`count`], in the caller's transaction, which must be rolled back after a [`CountError`] unless there
/// was one key.
///
/// `tries` includes the attempts in flight. Those of a shared counter count a quarter each, so three quarters
/// of them are subtracted; [`super`] explains why.
///
/// Reading the waits writes nothing. Counting locks the rows in the order of their keys, so that transactions
/// cannot deadlock, and checks the wait again under the lock.
pub(super) async fn count_in(
    connection: &mut PgConnection,
    keys: Vec<Key>,
) -> Result<CountOutcome, CountError> {
    let rows = sqlx::query!(
        r#"
        WITH wanted AS MATERIALIZED (
             SELECT w.*, make_interval(secs => w.longest_seconds) AS longest_wait,
                    make_interval(secs => w.memory_seconds) AS memory
               FROM unnest($1::text[], $2::bytea[], $3::integer[], $4::integer[], $5::integer[], $6::integer[],
                           $7::boolean[])
                    AS w (action, subject, free, first_seconds, longest_seconds, memory_seconds, shared)),
             waiting AS MATERIALIZED (
             SELECT max(t.free_at) AS until
               FROM throttles t
               JOIN wanted w USING (action, subject)
              WHERE t.tries > 0
                AND t.tried_at <= clock_timestamp()
                AND t.free_at BETWEEN clock_timestamp() AND clock_timestamp() + w.longest_wait),
             counted AS (
             INSERT INTO throttles AS t
                    (action, subject, tries, free_at, tried_at, forget_at, in_flight, in_flight_since)
             SELECT action, subject, 1, clock_timestamp(), clock_timestamp(), clock_timestamp() + memory,
                    shared::integer, CASE WHEN shared THEN clock_timestamp() END
               FROM wanted
              WHERE (SELECT until FROM waiting) IS NULL
              ORDER BY action, subject
                 ON CONFLICT (action, subject) DO UPDATE
                SET (tries, free_at, tried_at, forget_at, in_flight, in_flight_since) = (
                    SELECT c.tries + 1, c.at + n.wait, c.at, c.at + n.wait + w.memory,
                           CASE WHEN w.shared THEN c.in_flight + 1 ELSE 0 END,
                           CASE WHEN w.shared AND c.in_flight > 0 THEN t.in_flight_since
                                WHEN w.shared THEN c.at
                           END
                      FROM wanted w
                     CROSS JOIN LATERAL (
                           SELECT clock_timestamp() AS at,
                                  t.forget_at BETWEEN clock_timestamp()
                                                  AND clock_timestamp() + w.longest_wait + w.memory AS is_kept,
                                  w.shared AND (t.in_flight_since BETWEEN clock_timestamp() - make_interval(secs => $8)
                                                                      AND clock_timestamp()) IS TRUE AS is_in_flight
                           ) AS k
                     CROSS JOIN LATERAL (
                           SELECT k.at,
                                  CASE WHEN k.is_kept THEN t.tries ELSE 0 END AS tries,
                                  CASE WHEN k.is_kept AND k.is_in_flight THEN t.in_flight ELSE 0 END AS in_flight
                           ) AS c
                     CROSS JOIN LATERAL (
                           SELECT c.tries + 1 - c.in_flight * 3 / 4 - w.free AS over) AS o
                     CROSS JOIN LATERAL (
                           SELECT make_interval(secs => CASE
                                      WHEN o.over < 0 THEN 0
                                      ELSE least(w.longest_seconds, w.first_seconds * 2 ^ least(o.over, 16))
                                  END) AS wait) AS n
                     WHERE w.action = t.action
                       AND w.subject = t.subject)
              WHERE NOT (t.tries > 0
                         AND t.tried_at <= clock_timestamp()
                         AND t.free_at > clock_timestamp()
                         AND t.free_at <= clock_timestamp() + (
                             SELECT w.longest_wait
                               FROM wanted w
                              WHERE w.action = t.action
                                AND w.subject = t.subject))
          RETURNING t.action, t.tries, t.free_at - t.tried_at AS wait, t.in_flight_since)
        SELECT action AS "action?", tries AS "tries?", extract(epoch FROM wait)::float8 AS "seconds!",
               in_flight_since AS "in_flight_since?"
          FROM counted
         UNION ALL
        SELECT NULL, NULL, extract(epoch FROM until - clock_timestamp())::float8, NULL
          FROM waiting
         WHERE until IS NOT NULL
        "#,
        &keys.iter().map(|key| key.action.clone()).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.subject.clone()).collect::<Vec<_>>(),
        &keys.iter().map(|key| i32::from(key.limit.free)).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.limit.first_wait as i32).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.limit.max_wait as i32).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.limit.reset_after as i32).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.limit.shared).collect::<Vec<_>>(),
        IN_FLIGHT_SECONDS,
    )
    .fetch_all(&mut *connection)
    .await?;
    if let Some(waiting) = rows.iter().find(|row| row.action.is_none()) {
        return Ok(CountOutcome::Waiting { seconds: waiting.seconds });
    }
    if rows.len() < keys.len() {
        return Err(CountError::Race);
    }
    let counted = keys.into_iter().filter_map(|key| {
        let row = rows.iter().find(|row| row.action.as_ref() == Some(&key.action))?;
        let in_flight_since = row.in_flight_since;
        Some(Counted { attempts: row.tries?, wait: row.seconds, in_flight_since, key })
    });
    Ok(CountOutcome::Counted(counted.collect()))
}

/// Refunds the attempt. Counters for which `resets` is true are deleted, including all earlier attempts; the
/// others are decremented. A wait ends with the attempt that started it, and when no more than the free
/// attempts are left.
pub(super) async fn refund(
    executor: impl PgExecutor<'_>,
    counted: &[Counted],
    resets: impl Fn(By) -> bool,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        WITH mine AS MATERIALIZED (
             SELECT t.action, t.subject, w.tries, w.free, w.resets, w.since,
                    CASE WHEN t.in_flight_since = w.since THEN greatest(t.in_flight - 1, 0) ELSE t.in_flight END
                        AS in_flight
               FROM throttles t
               JOIN unnest($1::text[], $2::bytea[], $3::integer[], $4::integer[], $5::boolean[], $6::timestamptz[])
                    AS w (action, subject, tries, free, resets, since) USING (action, subject)
              ORDER BY t.action, t.subject
                FOR UPDATE OF t),
             forgotten AS (
             DELETE FROM throttles t
              USING mine m
              WHERE t.action = m.action
                AND t.subject = m.subject
                AND m.resets)
        UPDATE throttles t
           SET tries = greatest(t.tries - 1, 0),
               in_flight = m.in_flight,
               free_at = CASE
                   WHEN t.tries - m.in_flight * 3 / 4 <= m.free OR t.tries = m.tries THEN t.tried_at
                   ELSE t.free_at
               END
          FROM mine m
         WHERE t.action = m.action
           AND t.subject = m.subject
           AND NOT m.resets
        "#,
        &counted.iter().map(|one| one.key.action.clone()).collect::<Vec<_>>(),
        &counted.iter().map(|one| one.key.subject.clone()).collect::<Vec<_>>(),
        &counted.iter().map(|one| one.attempts).collect::<Vec<_>>(),
        &counted.iter().map(|one| i32::from(one.key.limit.free)).collect::<Vec<_>>(),
        &counted.iter().map(|one| resets(one.key.by)).collect::<Vec<_>>(),
        &counted.iter().map(|one| one.in_flight_since).collect::<Vec<_>>() as &[Option<OffsetDateTime>],
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Ends an attempt in flight that was not refunded: from now on it counts fully. Returns the wait that this
/// started, in seconds; zero if the counter was in a wait before. Nothing happens if the attempt took longer
/// than [`IN_FLIGHT_SECONDS`], because it counts fully then.
pub(super) async fn fail(pool: &PgPool, counted: &Counted) -> sqlx::Result<f64> {
    let Some(since) = counted.in_flight_since else { return Ok(0.0) };
    let (limit, key) = (counted.key.limit, &counted.key);
    let wait = sqlx::query_scalar!(
        r#"
        WITH mine AS MATERIALIZED (
             SELECT t.free_at > t.tried_at AS was_waiting,
                    t.tried_at + make_interval(secs => CASE
                        WHEN o.over < 0 THEN 0
                        ELSE least($5::integer, $4::integer * 2 ^ least(o.over, 16))
                    END) AS free_at
               FROM throttles t
              CROSS JOIN LATERAL (SELECT t.tries - (t.in_flight - 1) * 3 / 4 - $3::integer AS over) AS o
              WHERE t.action = $1
                AND t.subject = $2
                AND t.in_flight_since = $7
                AND t.in_flight > 0
                FOR UPDATE OF t)
        UPDATE throttles t
           SET in_flight = t.in_flight - 1,
               free_at = greatest(t.free_at, m.free_at),
               forget_at = greatest(t.forget_at, m.free_at + make_interval(secs => $6))
          FROM mine m
         WHERE t.action = $1
           AND t.subject = $2
        RETURNING CASE WHEN m.was_waiting THEN 0 ELSE extract(epoch FROM t.free_at - t.tried_at)::float8 END
                      AS "wait!"
        "#,
        key.action,
        key.subject,
        i32::from(limit.free),
        limit.first_wait as i32,
        limit.max_wait as i32,
        f64::from(limit.reset_after),
        since,
    )
    .fetch_optional(db::on(pool))
    .await?;
    Ok(wait.unwrap_or_default())
}

/// Deletes the counters of `actions` whose subject starts with one of `subjects`, and returns how many: the
/// subject of a pair starts with that of its account, the subject of a device with that of its user. Locks
/// them in the order in which they are counted. `OFFSET 0` and the arrays keep PostgreSQL from joining the whole
/// table: it expects the ranges and `mine` to have many rows.
pub(super) async fn delete(
    connection: &mut PgConnection,
    actions: &[String],
    subjects: &[Vec<u8>],
) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        r#"
        WITH found AS MATERIALIZED (
             SELECT f.subject
               FROM unnest($1::text[]) AS a (action)
              CROSS JOIN unnest($2::bytea[]) AS s (subject)
              CROSS JOIN LATERAL (
                    SELECT t.subject
                      FROM throttles t
                     WHERE t.action = a.action
                       AND t.subject BETWEEN s.subject AND s.subject || $3::bytea
                    OFFSET 0) AS f),
             mine AS MATERIALIZED (
             SELECT t.subject
               FROM throttles t
              WHERE t.action = ANY($1)
                AND t.subject = ANY(ARRAY(SELECT subject FROM found))
              ORDER BY t.action, t.subject
                FOR UPDATE OF t)
        DELETE FROM throttles
         WHERE action = ANY($1)
           AND subject = ANY(ARRAY(SELECT subject FROM mine))
        "#,
        actions,
        subjects,
        // The largest digest that can follow.
        &[0xff; 32][..],
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}
