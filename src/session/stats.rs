//! Statistics of the table `sessions`, for operators and DBAs. They scan the whole table, so pages must not
//! use them.

use serde::Serialize;
use sqlx::{PgConnection, PgPool};

use super::user_agent;
use crate::db;

/// The output of `frontdesk session stats`.
#[derive(Debug, Serialize)]
pub struct Stats {
    /// Live sessions of users.
    pub signed_in: i64,
    /// Live sessions before sign-in.
    pub anonymous: i64,
    /// Live sessions with "keep me signed in".
    pub remembered: i64,
    /// Expired sessions that are not yet deleted.
    pub expired: i64,
    /// The time since the oldest of those expired, in seconds.
    pub purge_lag_seconds: f64,
    /// Live sessions by the time since they were last seen.
    pub last_seen: Vec<Bucket>,
    /// Live sessions by the time since they were created.
    pub age: Vec<Bucket>,
    /// Live sessions by device, the most frequent first; at most ten.
    pub devices: Vec<Bucket>,
    /// The size of the table with its TOAST table, in bytes.
    pub table_bytes: i64,
    /// The size of its indexes, in bytes.
    pub index_bytes: i64,
    /// PostgreSQL's estimate of the dead rows that are not yet vacuumed.
    pub dead_rows: i64,
    /// The fraction of updates that were heap-only (HOT), from 0 to 1. `None` if there was no update.
    pub hot_share: Option<f64>,
}

/// A count with its label.
#[derive(Debug, Serialize)]
pub struct Bucket {
    /// What is counted.
    pub label: String,
    /// The number of sessions.
    pub count: i64,
}

/// Upper bounds in seconds, and labels.
const BUCKETS: [(f64, &str); 8] = [
    (60.0, "under a minute"),
    (300.0, "1 to 5 minutes"),
    (1800.0, "5 to 30 minutes"),
    (7200.0, "30 minutes to 2 hours"),
    (86_400.0, "2 hours to a day"),
    (604_800.0, "1 to 7 days"),
    (2_592_000.0, "7 to 30 days"),
    (f64::INFINITY, "over 30 days"),
];

/// Collects the statistics. Scans the whole table.
pub async fn collect(pool: &PgPool) -> sqlx::Result<Stats> {
    db::long_transaction(pool, |connection| Box::pin(collect_in(connection))).await
}

async fn collect_in(connection: &mut PgConnection) -> sqlx::Result<Stats> {
    let counts = sqlx::query!(
        r#"
        SELECT count(*) FILTER (WHERE expires_at > now() AND user_id IS NOT NULL) AS "signed_in!",
               count(*) FILTER (WHERE expires_at > now() AND user_id IS NULL) AS "anonymous!",
               count(*) FILTER (WHERE expires_at > now() AND remembered) AS "remembered!",
               count(*) FILTER (WHERE expires_at <= now()) AS "expired!",
               COALESCE(EXTRACT(EPOCH FROM now() - min(expires_at) FILTER (WHERE expires_at <= now())), 0)::float8
                   AS "purge_lag_seconds!"
          FROM sessions
        "#
    )
    .fetch_one(&mut *connection)
    .await?;
    let table = sqlx::query!(
        r#"
        SELECT pg_table_size(c.oid) AS "table_bytes!",
               pg_indexes_size(c.oid) AS "index_bytes!",
               COALESCE(t.n_dead_tup, 0) AS "dead_rows!",
               t.n_tup_hot_upd::float8 / NULLIF(t.n_tup_upd, 0) AS hot_share
          FROM pg_class c
          LEFT JOIN pg_stat_user_tables t ON t.relid = c.oid
         WHERE c.oid = 'sessions'::regclass
        "#
    )
    .fetch_one(&mut *connection)
    .await?;
    Ok(Stats {
        signed_in: counts.signed_in,
        anonymous: counts.anonymous,
        remembered: counts.remembered,
        expired: counts.expired,
        purge_lag_seconds: counts.purge_lag_seconds,
        last_seen: count_by_last_seen(connection).await?,
        age: count_by_age(connection).await?,
        devices: count_by_device(connection).await?,
        table_bytes: table.table_bytes,
        index_bytes: table.index_bytes,
        dead_rows: table.dead_rows,
        hot_share: table.hot_share,
    })
}

async fn count_by_last_seen(connection: &mut PgConnection) -> sqlx::Result<Vec<Bucket>> {
    let found = sqlx::query!(
        r#"
        SELECT width_bucket(EXTRACT(EPOCH FROM now() - last_seen_at)::float8, $1::float8[]) AS "bucket!",
               count(*) AS "count!"
          FROM sessions
         WHERE expires_at > now()
         GROUP BY 1
        "#,
        &bounds(),
    )
    .fetch_all(connection)
    .await?;
    Ok(buckets(found.into_iter().map(|row| (row.bucket, row.count))))
}

async fn count_by_age(connection: &mut PgConnection) -> sqlx::Result<Vec<Bucket>> {
    let found = sqlx::query!(
        r#"
        SELECT width_bucket(EXTRACT(EPOCH FROM now() - created_at)::float8, $1::float8[]) AS "bucket!",
               count(*) AS "count!"
          FROM sessions
         WHERE expires_at > now()
         GROUP BY 1
        "#,
        &bounds(),
    )
    .fetch_all(connection)
    .await?;
    Ok(buckets(found.into_iter().map(|row| (row.bucket, row.count))))
}

async fn count_by_device(connection: &mut PgConnection) -> sqlx::Result<Vec<Bucket>> {
    let agents = sqlx::query!(
        r#"
        SELECT user_agent, count(*) AS "count!"
          FROM sessions
         WHERE expires_at > now()
         GROUP BY user_agent
         ORDER BY 2 DESC
         LIMIT 10000
        "#
    )
    .fetch_all(connection)
    .await?;
    let mut devices: Vec<Bucket> = Vec::new();
    for agent in agents {
        let label = user_agent::title(agent.user_agent.as_deref());
        match devices.iter_mut().find(|device| device.label == label) {
            Some(device) => device.count += agent.count,
            None => devices.push(Bucket { label, count: agent.count }),
        }
    }
    devices.sort_by_key(|device| -device.count);
    devices.truncate(10);
    Ok(devices)
}

/// The upper bounds of all buckets but the last, for `width_bucket`.
fn bounds() -> Vec<f64> {
    BUCKETS[..BUCKETS.len() - 1].iter().map(|(bound, _)| *bound).collect()
}

/// One bucket for each of [`BUCKETS`], from rows with the index and the count.
fn buckets(found: impl Iterator<Item = (i32, i64)>) -> Vec<Bucket> {
    let mut all: Vec<Bucket> =
        BUCKETS.iter().map(|(_, label)| Bucket { label: (*label).to_owned(), count: 0 }).collect();
    for (bucket, count) in found {
        if let Some(bucket) = usize::try_from(bucket).ok().and_then(|at| all.get_mut(at)) {
            bucket.count += count;
        }
    }
    all
}
