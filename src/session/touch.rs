//! "Last seen": a request marks its session in memory, a loop writes what is due in one statement.
//! At most one write a session in a touch interval; never moves anything backwards; never wakes a
//! session that is over.
//!
//! The touch interval is a minute, or a twentieth of the idle timeout when that is less. A mark waits
//! until its interval since the last write is over and is then written with the moment of the last
//! activity, so no session ends before its idle time after the last request, whether or not another
//! request follows. A session with little life left is written at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;

use crate::db;
use crate::secret::Digest;

/// The longest touch interval.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
/// How often the loop should call [`Touch::flush`].
pub const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// Rows in one statement.
const BATCH: usize = 1000;

/// Marks that wait to be written. Clones share them.
#[derive(Clone)]
pub struct Touch {
    pool: PgPool,
    marks: Arc<Mutex<HashMap<Digest, Mark>>>,
}

#[derive(Clone, Copy)]
struct Mark {
    seen: Instant,
    due: Instant,
    /// A write found nothing to do: the row is gone, or another server was quicker. Tried once more.
    missed: bool,
}

impl Touch {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, marks: Arc::default() }
    }

    /// Marks a session that a request was just loaded with; all in seconds, as the database counted.
    pub(super) async fn mark(&self, digest: &Digest, since_seen: f64, idle: f64, left: f64) {
        let now = Instant::now();
        let interval = LONGEST_INTERVAL.as_secs_f64().min(idle / 20.0);
        let wait = Duration::try_from_secs_f64(interval - since_seen).unwrap_or(Duration::ZERO);
        let mark = Mark { seen: now, due: now + wait, missed: false };
        self.marks().insert(digest.clone(), mark);
        // Could the row run out before the loop comes to it?
        if left < wait.as_secs_f64() + 3.0 * FLUSH_EVERY.as_secs_f64() && since_seen >= interval {
            self.marks().remove(digest);
            if let Err(error) = self.write(&self.pool, vec![(digest.clone(), mark)], false).await {
                tracing::warn!(%error, "a session could not be marked as seen");
                self.marks().insert(digest.clone(), mark);
            }
        }
    }

    /// Writes what is due. What can not be written stays.
    pub async fn flush(&self) -> sqlx::Result<()> {
        self.write_marks(&self.pool, false).await
    }

    /// Writes everything, due or not, over `pool`: at shutdown the connections of the common pool end
    /// with the workers that opened them.
    pub async fn flush_all(&self, pool: &PgPool) -> sqlx::Result<()> {
        self.write_marks(pool, true).await
    }

    async fn write_marks(&self, pool: &PgPool, all: bool) -> sqlx::Result<()> {
        let now = Instant::now();
        let due: Vec<(Digest, Mark)> = {
            let mut marks = self.marks();
            marks.extract_if(|_, mark| all || mark.due <= now).collect()
        };
        let mut chunks = due.chunks(BATCH);
        while let Some(chunk) = chunks.next() {
            if let Err(error) = self.write(pool, chunk.to_vec(), all).await {
                let unwritten = chunk.iter().chain(chunks.flatten());
                let mut marks = self.marks();
                for (digest, mark) in unwritten {
                    marks.entry(digest.clone()).or_insert(*mark);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        pool: &PgPool,
        batch: Vec<(Digest, Mark)>,
        early: bool,
    ) -> sqlx::Result<()> {
        // Another server may have written meanwhile; only the last flush of a server that stops may come
        // before the interval is over.
        let share = if early { 0.0 } else { 0.9 };
        let digests: Vec<Vec<u8>> =
            batch.iter().map(|(digest, _)| digest.as_bytes().to_vec()).collect();
        let ages: Vec<f64> =
            batch.iter().map(|(_, mark)| mark.seen.elapsed().as_secs_f64()).collect();
        let written: Vec<Vec<u8>> = db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
            Box::pin(async move {
                // Losing the last seconds of "last seen" in a crash of PostgreSQL harms nobody, and
                // it is two to three times faster (SESSION-ENGINE, section 2).
                sqlx::query!("SET LOCAL synchronous_commit = off").execute(&mut *connection).await?;
                sqlx::query_scalar!(
                    r#"
                    UPDATE sessions AS s
                       SET last_seen_at = GREATEST(s.last_seen_at, m.seen_at),
                           expires_at = GREATEST(
                               s.expires_at,
                               LEAST(m.seen_at + s.idle_timeout, s.absolute_expires_at))
                      FROM (SELECT digest, now() - make_interval(secs => age) AS seen_at
                              FROM unnest($1::bytea[], $2::float8[]) AS marks (digest, age)
                             ORDER BY digest) AS m
                     WHERE s.token_digest = m.digest
                       AND s.expires_at > now()
                       AND s.last_seen_at < m.seen_at
                       AND s.last_seen_at <= now() - LEAST(interval '60 seconds', s.idle_timeout / 20) * $3::float8
                    RETURNING s.token_digest
                    "#,
                    &digests,
                    &ages,
                    share,
                )
                .fetch_all(connection)
                .await
            })
        })
        .await?;
        if written.len() < batch.len() {
            let mut marks = self.marks();
            for (digest, mark) in batch {
                if !mark.missed && !written.iter().any(|row| row == digest.as_bytes()) {
                    marks.entry(digest).or_insert(Mark {
                        due: Instant::now() + LONGEST_INTERVAL,
                        missed: true,
                        ..mark
                    });
                }
            }
        }
        Ok(())
    }

    fn marks(&self) -> MutexGuard<'_, HashMap<Digest, Mark>> {
        // A map of marks is whole after every operation, so a poisoned lock holds a good map.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
