//! Rows of `throttles`: counted, given back, forgotten. Knows no action and no number.

use sqlx::{PgConnection, PgExecutor, PgPool};

use super::limits::Limit;
use crate::db;
use crate::session::{Lock, Requester, SessionEnded};

/// One counter, and what it showed after this try.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) key: Key,
    tries: i32,
    /// Seconds that this try makes the next one wait.
    pub(super) wait: f64,
}

/// By what something is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Account,
    Address,
    Pair,
    Device,
    Mail,
}

impl By {
    pub(super) const ALL: [Self; 5] =
        [Self::Account, Self::Address, Self::Pair, Self::Device, Self::Mail];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            By::Account => "account",
            By::Address => "address",
            By::Pair => "pair",
            By::Device => "device",
            By::Mail => "mail",
        }
    }
}

/// The name of a counter.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) by: By,
    pub(super) action: String,
    pub(super) subject: Vec<u8>,
    pub(super) limit: Limit,
}

/// What came of counting.
pub(super) enum Outcome {
    /// By each key, in their order.
    Counted(Vec<Counted>),
    /// By none: for so long at least one of them may not.
    Waiting { seconds: f64 },
}

/// Why a try was not counted by any of its keys.
pub(super) enum Undone {
    /// Others took the last free try between our look and our count.
    Overtaken,
    /// The database.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Undone {
    fn from(error: sqlx::Error) -> Self {
        Undone::Database(error)
    }
}

impl db::Failure for Undone {
    fn of_database(&self) -> Option<&sqlx::Error> {
        match self {
            Undone::Overtaken => None,
            Undone::Database(error) => Some(error),
        }
    }
}

/// Counts by all of `keys` or by none. Looking writes nothing; counting locks the rows in the order of their names, so
/// that no two wait for each other, and asks again under the lock.
pub(super) async fn count(pool: &PgPool, keys: Vec<Key>) -> Result<Outcome, Undone> {
    db::transaction(pool, move |connection| Box::pin(count_in(connection, keys))).await
}

/// The same on behalf of a session.
pub(super) async fn count_for(
    pool: &PgPool,
    requester: &Requester,
    keys: Vec<Key>,
) -> Result<Result<Outcome, SessionEnded>, Undone> {
    requester
        .transaction(pool, Lock::Session, move |connection| Box::pin(count_in(connection, keys)))
        .await
}

/// The same in the caller's transaction, which must not commit after [`Undone`] unless there was one key.
pub(super) async fn count_in(
    connection: &mut PgConnection,
    keys: Vec<Key>,
) -> Result<Outcome, Undone> {
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
        &keys.iter().map(|key| key.limit.longest_wait as i32).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.limit.memory as i32).collect::<Vec<_>>(),
    )
    .fetch_all(&mut *connection)
    .await?;
    if let Some(waiting) = rows.iter().find(|row| row.action.is_none()) {
        return Ok(Outcome::Waiting { seconds: waiting.seconds });
    }
    if rows.len() < keys.len() {
        return Err(Undone::Overtaken);
    }
    let counted = keys.into_iter().filter_map(|key| {
        let row = rows.iter().find(|row| row.action.as_ref() == Some(&key.action))?;
        Some(Counted { tries: row.tries?, wait: row.seconds, key })
    });
    Ok(Outcome::Counted(counted.collect()))
}

/// Takes the try back; where `begins_anew` says so, with all before it.
pub(super) async fn give_back(
    at: impl PgExecutor<'_>,
    counted: &[Counted],
    begins_anew: impl Fn(By) -> bool,
) -> sqlx::Result<()> {
    // A wait goes with the try that began it, and whenever no more than the free tries are left.
    sqlx::query!(
        r#"
        WITH mine AS MATERIALIZED (
             SELECT t.action, t.subject, w.tries, w.free, w.anew
               FROM throttles t
               JOIN unnest($1::text[], $2::bytea[], $3::integer[], $4::integer[], $5::boolean[])
                    AS w (action, subject, tries, free, anew) USING (action, subject)
              ORDER BY t.action, t.subject
                FOR UPDATE OF t),
             forgotten AS (
             DELETE FROM throttles t
              USING mine m
              WHERE t.action = m.action
                AND t.subject = m.subject
                AND m.anew)
        UPDATE throttles t
           SET tries = greatest(t.tries - 1, 0),
               free_at = CASE WHEN t.tries <= m.free OR t.tries = m.tries THEN t.tried_at ELSE t.free_at END
          FROM mine m
         WHERE t.action = m.action
           AND t.subject = m.subject
           AND NOT m.anew
        "#,
        &counted.iter().map(|one| one.key.action.clone()).collect::<Vec<_>>(),
        &counted.iter().map(|one| one.key.subject.clone()).collect::<Vec<_>>(),
        &counted.iter().map(|one| one.tries).collect::<Vec<_>>(),
        &counted.iter().map(|one| i32::from(one.key.limit.free)).collect::<Vec<_>>(),
        &counted.iter().map(|one| begins_anew(one.key.by)).collect::<Vec<_>>(),
    )
    .execute(at)
    .await?;
    Ok(())
}

/// Deletes the counters of `actions` whose subjects begin with one of `subjects`: the subject of a pair begins with that of
/// its account, that of a device with that of its user. Locks them in the order in which they are counted. Answers how many.
pub(super) async fn forget(
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
        // Whatever else is digested stands behind, and is no longer.
        &[0xff; 32][..],
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}
