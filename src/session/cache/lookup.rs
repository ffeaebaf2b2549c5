//! Loads sessions from the database: session and user in one statement, and one statement for all requests
//! that arrived while the previous one was running (batching). A look-up never joins a statement that has
//! already started.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::SessionCache;
use super::clock::MonotonicInstant;
use super::entries::Stamp;
use crate::crypto::secret::Digest;
use crate::db;
use crate::id::{SessionId, UserId};
use crate::role::Role;
use crate::session::state::{Account, Ages, SessionRow};

/// A request that has waited this long for its session fails with 503. The total response time is then less
/// than three seconds.
const DEADLINE: Duration = Duration::from_millis(2400);
/// If a statement takes longer than this, the next one starts without waiting for it.
const SLOW_AFTER: Duration = Duration::from_millis(5);
/// Maximum number of concurrent statements.
const MAX_STATEMENTS: usize = 4;
/// Maximum number of sessions per statement.
const BATCH_SIZE: usize = 256;

/// A live session and its user, as read from the database. `proof_seconds` is the time since
/// `authenticated_at`.
#[derive(Debug)]
pub(in crate::session) struct LookupRow {
    pub(in crate::session) token_digest: Vec<u8>,
    pub(in crate::session) id: SessionId,
    pub(in crate::session) state: Value,
    pub(in crate::session) format_version: i16,
    pub(in crate::session) created_at: OffsetDateTime,
    pub(in crate::session) authenticated_at: Option<OffsetDateTime>,
    pub(in crate::session) remembered: bool,
    pub(in crate::session) seconds_since_seen: f64,
    pub(in crate::session) seconds_left: f64,
    pub(in crate::session) absolute_seconds: f64,
    pub(in crate::session) age_seconds: f64,
    pub(in crate::session) proof_seconds: Option<f64>,
    pub(in crate::session) idle_seconds: f64,
    pub(in crate::session) user_id: Option<UserId>,
    pub(in crate::session) email: Option<String>,
    pub(in crate::session) email_is_verified: bool,
    pub(in crate::session) display_name: Option<String>,
    pub(in crate::session) role: Option<Role>,
    pub(in crate::session) groups: Vec<String>,
    /// The start time of the PostgreSQL server: see [`super::invalidation::ListenerStatus::comes_from`].
    pub(in crate::session) server: OffsetDateTime,
}

impl LookupRow {
    /// When the session expires without another request, and when in any case. `loaded_at` is the time before the
    /// look-up.
    pub(in crate::session) fn expiry(&self, loaded_at: MonotonicInstant) -> [MonotonicInstant; 2] {
        [self.seconds_left, self.absolute_seconds]
            .map(|seconds| loaded_at + Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }

    /// Converts the row for the session cache. `loaded_at` is the time before the look-up.
    pub(in crate::session) fn session_row(&self, loaded_at: MonotonicInstant) -> SessionRow {
        let mut groups = self.groups.clone().into_boxed_slice();
        groups.sort_unstable();
        let user = match (self.user_id, &self.email, &self.display_name, self.role) {
            (Some(id), Some(email), Some(display_name), Some(role)) => Some(Arc::new(Account {
                id,
                email: email.clone(),
                email_is_verified: self.email_is_verified,
                display_name: display_name.clone(),
                role,
                groups,
            })),
            _ => None,
        };
        SessionRow {
            id: self.id,
            remembered: self.remembered,
            created_at: self.created_at,
            authenticated_at: self.authenticated_at,
            absolute_seconds: self.absolute_seconds as i64,
            ages: Ages {
                session: self.age_seconds,
                authentication: self.proof_seconds,
                loaded: loaded_at.0,
            },
            user,
        }
    }
}

/// The row, and the clock of the cache from before the statement.
type LookupResult = Result<(Option<Arc<LookupRow>>, Stamp), Arc<anyhow::Error>>;

/// Loads sessions. Clones share the queue.
#[derive(Clone)]
pub(in crate::session) struct Lookup {
    pool: PgPool,
    cache: Arc<SessionCache>,
    queue: Arc<Mutex<Queue>>,
    /// The number of look-ups, and of statements.
    counts: Arc<(AtomicU64, AtomicU64)>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(Digest, oneshot::Sender<LookupResult>)>,
    /// The number of tasks that run statements.
    running: usize,
    /// When the last statement started.
    started_at: Option<Instant>,
}

/// A connection that a task keeps from one statement to the next: returning it to the pool and acquiring it
/// again would cost more round trips than the statement.
type KeptConnection = PoolConnection<Postgres>;

/// Decrements `running` when its task is dropped before it ends.
struct RunningTask(Option<Arc<Mutex<Queue>>>);

impl Drop for RunningTask {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            lock(&queue).running -= 1;
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // The queue is consistent after every statement that may panic, so a poisoned lock is used.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lookup {
    pub(in crate::session) fn new(pool: PgPool, cache: Arc<SessionCache>) -> Self {
        Self { pool, cache, queue: Arc::default(), counts: Arc::default() }
    }

    /// The number of look-ups so far, and of the statements that they took.
    pub(in crate::session) fn counts(&self) -> (u64, u64) {
        (self.counts.0.load(Ordering::Relaxed), self.counts.1.load(Ordering::Relaxed))
    }

    /// Finds the live session of `digest`. Whether it is live is decided by the database's clock.
    #[tracing::instrument(name = "session_lookup", level = "debug", skip_all)]
    pub(in crate::session) async fn find(
        &self,
        digest: Digest,
    ) -> Result<(Option<Arc<LookupRow>>, Stamp), anyhow::Error> {
        let (sender, result) = oneshot::channel();
        let starts = {
            let mut queue = lock(&self.queue);
            queue.waiting.push((digest, sender));
            let is_slow =
                queue.started_at.is_some_and(|started_at| started_at.elapsed() > SLOW_AFTER);
            let starts = queue.running == 0 || (is_slow && queue.running < MAX_STATEMENTS);
            queue.running += usize::from(starts);
            starts
        };
        if starts {
            // On a separate task: a client that disconnects must not cancel the look-ups of others.
            tokio::spawn(self.clone().drain(RunningTask(Some(Arc::clone(&self.queue)))));
        }
        let result = tokio::time::timeout(DEADLINE, result)
            .await
            .context("PostgreSQL did not respond in time")?
            .context("the look-up was stopped")?;
        result.map_err(|error| anyhow!("{}", db::explain(&error)))
    }

    /// Runs statements until the queue is empty.
    async fn drain(self, mut running: RunningTask) {
        let mut kept = None;
        loop {
            let batch: Vec<_> = {
                let mut queue = lock(&self.queue);
                if queue.waiting.is_empty() {
                    // Under the same lock: the next look-up must see that no task is running.
                    queue.running -= 1;
                    running.0 = None;
                    return;
                }
                queue.started_at = Some(Instant::now());
                let size = queue.waiting.len().min(BATCH_SIZE);
                queue.waiting.drain(..size).collect()
            };
            self.counts.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
            self.counts.1.fetch_add(1, Ordering::Relaxed);
            let stamp = self.cache.stamp();
            let digests: Arc<[Vec<u8>]> =
                batch.iter().map(|(digest, _)| digest.as_bytes().to_vec()).collect();
            match self.select_with_retry(&mut kept, &digests).await {
                Ok(rows) => {
                    db::note_success();
                    let rows: HashMap<Vec<u8>, Arc<LookupRow>> = rows
                        .into_iter()
                        .map(|mut row| (std::mem::take(&mut row.token_digest), Arc::new(row)))
                        .collect();
                    for (digest, sender) in batch {
                        let row = rows.get(digest.as_bytes()).map(Arc::clone);
                        sender.send(Ok((row, stamp))).ok();
                    }
                }
                Err(error) => {
                    let error = Arc::new(anyhow::Error::from(error));
                    db::log_failure("sessions could not be loaded", &error);
                    for (_, sender) in batch {
                        sender.send(Err(Arc::clone(&error))).ok();
                    }
                }
            }
        }
    }

    /// Retries once if a pooled connection was broken or connected to a standby.
    async fn select_with_retry(
        &self,
        kept: &mut Option<KeptConnection>,
        digests: &Arc<[Vec<u8>]>,
    ) -> sqlx::Result<Vec<LookupRow>> {
        match self.select(kept, digests).await {
            Err(error) if is_broken_connection(&error) || db::is_in_recovery(&error) => {
                self.select(kept, digests).await
            }
            other => other,
        }
    }

    /// The statement has the same deadline as its callers: on a black-holed connection, abandoned statements
    /// would otherwise use up all [`MAX_STATEMENTS`].
    async fn select(
        &self,
        kept: &mut Option<KeptConnection>,
        digests: &Arc<[Vec<u8>]>,
    ) -> sqlx::Result<Vec<LookupRow>> {
        let connection = match kept.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        let digests = Arc::clone(digests);
        let (rows, connection) =
            db::with_connection(&self.pool, connection, DEADLINE, |connection| {
                Box::pin(async move {
                    match select_rows(connection, &digests).await {
                        Err(error) if db::is_cached_plan_error(&error) => {
                            connection.clear_cached_statements().await?;
                            select_rows(connection, &digests).await
                        }
                        other => other,
                    }
                })
            })
            .await?;
        *kept = Some(connection);
        Ok(rows)
    }
}

fn is_broken_connection(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() != io::ErrorKind::TimedOut)
}

/// Written so that PostgreSQL always reads each row by its primary key and uses a generic plan from the sixth
/// execution on: planning takes longer than execution. With a plain array parameter, a custom plan for the
/// actual array length looks cheaper, so PostgreSQL would plan each execution. It cannot estimate the length
/// of an array in a sub-select. The name of each group is read in a sub-select of its own for the same reason: a join
/// would read all groups.
///
/// `pg_current_wal_insert_lsn()` fails in recovery, before any row is read: a standby that lags behind would
/// return sessions that have been revoked. The check is part of the statement because behind a pooler each
/// statement can reach another server.
async fn select_rows(
    connection: &mut PgConnection,
    digests: &[Vec<u8>],
) -> sqlx::Result<Vec<LookupRow>> {
    sqlx::query_as!(
        LookupRow,
        r#"
        SELECT s.token_digest AS "token_digest!",
               s.id AS "id!: SessionId",
               s.state AS "state!",
               s.format_version AS "format_version!",
               s.created_at AS "created_at!",
               s.authenticated_at AS "authenticated_at?",
               s.remembered AS "remembered!",
               date_part('epoch', now() - s.last_seen_at) AS "seconds_since_seen!",
               date_part('epoch', s.expires_at - now()) AS "seconds_left!",
               date_part('epoch', s.absolute_expires_at - now()) AS "absolute_seconds!",
               date_part('epoch', now() - s.created_at) AS "age_seconds!",
               date_part('epoch', now() - s.authenticated_at) AS "proof_seconds?",
               date_part('epoch', s.idle_timeout) AS "idle_seconds!",
               s.user_id AS "user_id?: UserId",
               u.email AS "email?",
               u.email_verified_at IS NOT NULL AS "email_is_verified!",
               u.display_name AS "display_name?",
               u.role AS "role?: Role",
               ARRAY(SELECT (SELECT name FROM groups WHERE id = m.group_id)
                       FROM group_members m
                      WHERE m.user_id = s.user_id) AS "groups!",
               pg_postmaster_start_time() AS "server!"
          FROM sessions s
          LEFT JOIN LATERAL (
               SELECT email, email_verified_at, display_name, role, disabled_at
                 FROM users
                WHERE id = s.user_id
                LIMIT 1) AS u ON true
         WHERE (SELECT pg_current_wal_insert_lsn()) IS NOT NULL
           AND s.token_digest = ANY((SELECT $1::bytea[])::bytea[])
           AND s.expires_at > now()
           AND u.disabled_at IS NULL
        "#,
        digests,
    )
    .fetch_all(connection)
    .await
}
