//! Rows of `throttles`: counts and refunds attempts, and deletes counters. Independent of actions and limits.

use sqlx::{PgConnection, PgExecutor, PgPool};

use super::limits::Limit;
use crate::db;
use crate::session::{Lock, Requester, SessionEnded};

/// A counter as it was after this attempt.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) key: Key,
    attempts: i32,
    /// The wait that this attempt started, in seconds.
    pub(super) wait: f64,
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
/// Reading the waits writes nothing. Counting locks the rows in the order of their keys, so that transactions
/// cannot deadlock, and checks the wait again under the lock.
pub(super) async fn count_in(
    connection: &mut PgConnection,
    keys: Vec<Key>,
) -> Result<CountOutcome, CountError> {
    let rows = sqlx::query!(
        r#"
        WITH wanted AS MATERIALIZED (
             SELECT *
               FROM unnest($1::text[], $2::bytea[], $3::integer[], $4::integer[], $5::integer[], $6::integer[])
                    AS w (action, subject, free, first_wait, longest_wait, memory)),
             waiting AS MATERIALIZED (
             SELECT max(t.free_at) AS until
               FROM throttles t
               JOIN wanted w USING (action, subject)
              WHERE t.free_at > clock_timestamp()),
             counted AS (
             INSERT INTO throttles AS t (action, subject, tries, free_at, tried_at, forget_at)
             SELECT action, subject, 1, clock_timestamp(), clock_timestamp(),
                    clock_timestamp() + make_interval(secs => memory)
               FROM wanted
              WHERE (SELECT until FROM waiting) IS NULL
              ORDER BY action, subject
                 ON CONFLICT (action, subject) DO UPDATE
                SET (tries, free_at, tried_at, forget_at) = (
                    SELECT n.tries, n.at + n.wait, n.at, n.at + n.wait + make_interval(secs => w.memory)
                      FROM wanted w
                     CROSS JOIN LATERAL (
                           SELECT CASE WHEN t.forget_at <= clock_timestamp() THEN 1 ELSE t.tries + 1 END AS tries,
                                  clock_timestamp() AS at) AS c
                     CROSS JOIN LATERAL (
                           SELECT c.tries,
                                  c.at,
                                  make_interval(secs => CASE
                                      WHEN c.tries < w.free THEN 0
                                      ELSE least(w.longest_wait, w.first_wait * 2 ^ least(c.tries - w.free, 16))
                                  END) AS wait) AS n
                     WHERE w.action = t.action
                       AND w.subject = t.subject)
              WHERE t.free_at <= clock_timestamp()
          RETURNING t.action, t.tries, t.free_at - t.tried_at AS wait)
        SELECT action AS "action?", tries AS "tries?", extract(epoch FROM wait)::float8 AS "seconds!"
          FROM counted
         UNION ALL
        SELECT NULL, NULL, extract(epoch FROM until - clock_timestamp())::float8
          FROM waiting
         WHERE until IS NOT NULL
        "#,
        &keys.iter().map(|key| key.action.clone()).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.subject.clone()).collect::<Vec<_>>(),
        &keys.iter().map(|key| i32::from(key.limit.free)).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.limit.first_wait as i32).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.limit.max_wait as i32).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.limit.reset_after as i32).collect::<Vec<_>>(),
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
        Some(Counted { attempts: row.tries?, wait: row.seconds, key })
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
             SELECT t.action, t.subject, w.tries, w.free, w.resets
               FROM throttles t
               JOIN unnest($1::text[], $2::bytea[], $3::integer[], $4::integer[], $5::boolean[])
                    AS w (action, subject, tries, free, resets) USING (action, subject)
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
               free_at = CASE WHEN t.tries <= m.free OR t.tries = m.tries THEN t.tried_at ELSE t.free_at END
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
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Deletes the counters of `actions` whose subject starts with one of `subjects`, and returns how many: the
/// subject of a pair starts with that of its account, the subject of a device with that of its user. Locks
/// them in the order in which they are counted.
pub(super) async fn delete(
    connection: &mut PgConnection,
    actions: &[String],
    subjects: &[Vec<u8>],
) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        r#"
        WITH mine AS MATERIALIZED (
             SELECT t.action, t.subject
               FROM unnest($1::text[]) AS a (action)
              CROSS JOIN unnest($2::bytea[]) AS s (subject)
               JOIN throttles t
                 ON t.action = a.action
                AND t.subject BETWEEN s.subject AND s.subject || $3::bytea
              ORDER BY t.action, t.subject
                FOR UPDATE OF t)
        DELETE FROM throttles t
         USING mine m
         WHERE t.action = m.action
           AND t.subject = m.subject
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
