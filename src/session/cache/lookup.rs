//! Loading sessions from the database: session and user in one statement, and one statement for all the
//! requests that came while the one before was on its way. Under load that is what a pipeline is: many
//! questions in one write and one wake-up. A question never joins a statement that has already begun.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::id::{SessionId, UserId};
use crate::role::Role;
use anyhow::{Context as _, anyhow};
use serde_json::Value;
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::SessionCache;
use super::entries::Stamp;
use crate::crypto::secret::Digest;
use crate::db;

/// A page that waited this long for its session answers 503 instead (with the way back the answer
/// stays under three seconds).
const DEADLINE: Duration = Duration::from_millis(2400);
/// A statement that takes longer than this holds the others up: the next begins beside it.
const PATIENCE: Duration = Duration::from_millis(5);
/// Statements on their way at a time.
const AT_A_TIME: usize = 4;
/// Sessions in one statement.
const BATCH: usize = 256;

/// A live session and its user, as the database says.
#[derive(Debug)]
pub(in crate::session) struct Row {
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
    pub(in crate::session) display_name: Option<String>,
    pub(in crate::session) role: Option<Role>,
    /// When the PostgreSQL that answered was started: see [`super::invalidation::Status::comes_from`].
    pub(in crate::session) server: OffsetDateTime,
}

/// What a question gets: the row, and the clock of the cache from before the statement.
type Found = Result<(Option<Arc<Row>>, Stamp), Arc<anyhow::Error>>;

/// Questions to the database. Clones share the queue.
#[derive(Clone)]
pub(in crate::session) struct Lookup {
    pool: PgPool,
    cache: Arc<SessionCache>,
    queue: Arc<Mutex<Queue>>,
    /// Questions, and statements that answered them.
    counts: Arc<(AtomicU64, AtomicU64)>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(Digest, oneshot::Sender<Found>)>,
    running: usize,
    /// When the last statement began.
    began: Option<Instant>,
}

/// A connection from one statement to the next: to give it back and take it again would be more questions than the
/// statement.
type Held = PoolConnection<Postgres>;

/// Counts itself out when its task is dropped half-way.
struct Running(Option<Arc<Mutex<Queue>>>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            lock(&queue).running -= 1;
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // A queue is whole after every operation.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lookup {
    pub(in crate::session) fn new(pool: PgPool, cache: Arc<SessionCache>) -> Self {
        Self { pool, cache, queue: Arc::default(), counts: Arc::default() }
    }

    /// Questions so far, and the statements that answered them.
    pub(in crate::session) fn counts(&self) -> (u64, u64) {
        (self.counts.0.load(Ordering::Relaxed), self.counts.1.load(Ordering::Relaxed))
    }

    /// The live session of `digest`; by the database's clock only.
    pub(in crate::session) async fn find(
        &self,
        digest: Digest,
    ) -> Result<(Option<Arc<Row>>, Stamp), anyhow::Error> {
        let (sender, found) = oneshot::channel();
        let starts = {
            let mut queue = lock(&self.queue);
            queue.waiting.push((digest, sender));
            let is_slow = queue.began.is_some_and(|began| began.elapsed() > PATIENCE);
            let starts = queue.running == 0 || (is_slow && queue.running < AT_A_TIME);
            queue.running += usize::from(starts);
            starts
        };
        if starts {
            // On a task of its own: a visitor who goes away must not take the others' answers along.
            tokio::spawn(self.clone().drain(Running(Some(Arc::clone(&self.queue)))));
        }
        let found = tokio::time::timeout(DEADLINE, found)
            .await
            .context("PostgreSQL did not answer in time")?
            .context("the look-up was stopped")?;
        found.map_err(|error| anyhow!("{error:#}"))
    }

    async fn drain(self, mut running: Running) {
        let mut held = None;
        loop {
            let batch: Vec<_> = {
                let mut queue = lock(&self.queue);
                if queue.waiting.is_empty() {
                    // Under the same lock: whoever asks next must see that nobody is at work.
                    queue.running -= 1;
                    running.0 = None;
                    return;
                }
                queue.began = Some(Instant::now());
                let size = queue.waiting.len().min(BATCH);
                queue.waiting.drain(..size).collect()
            };
            self.counts.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
            self.counts.1.fetch_add(1, Ordering::Relaxed);
            let stamp = self.cache.stamp();
            let digests: Arc<[Vec<u8>]> =
                batch.iter().map(|(digest, _)| digest.as_bytes().to_vec()).collect();
            match self.select_patiently(&mut held, &digests).await {
                Ok(rows) => {
                    let rows: HashMap<Vec<u8>, Arc<Row>> = rows
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
                    for (_, sender) in batch {
                        sender.send(Err(Arc::clone(&error))).ok();
                    }
                }
            }
        }
    }

    /// Once more if a pooled connection turned out to be dead, or to lead to a standby.
    async fn select_patiently(
        &self,
        held: &mut Option<Held>,
        digests: &Arc<[Vec<u8>]>,
    ) -> sqlx::Result<Vec<Row>> {
        match self.select(held, digests).await {
            Err(error) if is_of_a_dead_connection(&error) || db::is_in_recovery(&error) => {
                self.select(held, digests).await
            }
            other => other,
        }
    }

    /// For no longer than somebody waits: behind a link that swallows everything, statements without an end would soon
    /// be as many as there may be at a time.
    async fn select(
        &self,
        held: &mut Option<Held>,
        digests: &Arc<[Vec<u8>]>,
    ) -> sqlx::Result<Vec<Row>> {
        let connection = match held.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        let digests = Arc::clone(digests);
        let (rows, connection) =
            db::with_connection(&self.pool, connection, DEADLINE, |connection| {
                Box::pin(async move {
                    match rows(connection, &digests).await {
                        Err(error) if db::is_of_a_former_schema(&error) => {
                            connection.clear_cached_statements().await?;
                            rows(connection, &digests).await
                        }
                        other => other,
                    }
                })
            })
            .await?;
        *held = Some(connection);
        Ok(rows)
    }
}

fn is_of_a_dead_connection(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() != io::ErrorKind::TimedOut)
}

/// Each row by its primary key, whatever else is in the tables. Planning it takes longer than running it, and PostgreSQL
/// would plan it every time for the sake of a shorter array: what stands in a sub-select it does not look at, and after
/// the fifth time it keeps one plan. `pg_current_wal_insert_lsn()` fails in recovery, before a row is read: a standby that
/// is behind would answer with sessions that have ended. Behind a pooler any statement may meet another server, so the
/// statement itself asks.
async fn rows(connection: &mut PgConnection, digests: &[Vec<u8>]) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
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
               u.display_name AS "display_name?",
               u.role AS "role?: Role",
               pg_postmaster_start_time() AS "server!"
          FROM sessions s
          LEFT JOIN LATERAL (
               SELECT email, display_name, role, disabled_at
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
