//! "Last seen": a request marks its session in memory, a loop writes what is due in one statement.
//! At most one write a session in a touch interval; never moves anything backwards; never wakes a
//! session that is over.
//!
//! The touch interval is a minute, or a twentieth of the idle timeout when that is less. A mark waits
//! until its interval since the last write is over and is then written with the moment of the last
//! activity, so no session ends before its idle time after the last request, whether or not another
//! request follows. A session with little life left is written at once.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;

use super::cache::clock::MonotonicInstant;
use crate::crypto::secret::Digest;
use crate::db;

/// The longest touch interval.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
/// How often the loop should call [`LastSeen::flush`].
pub const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// Rows in one statement.
const BATCH: usize = 1000;

/// Marks that wait to be written. Clones share them.
#[derive(Clone)]
pub struct LastSeen {
    pool: PgPool,
    marks: Arc<Mutex<HashMap<Digest, PendingUpdate>>>,
}

/// When a session was last seen here. Shared by its entry in the cache and its mark, so that a page served
/// from memory costs one store.
#[derive(Debug)]
pub(super) struct Activity {
    /// Milliseconds of [`MonotonicInstant`].
    seen: AtomicU64,
    /// There is a mark for it.
    is_marked: AtomicBool,
    interval: Duration,
}

#[derive(Clone)]
struct PendingUpdate {
    activity: Arc<Activity>,
    due: MonotonicInstant,
    /// A write found nothing to do: the row is gone or held, or another server was quicker. Tried once more.
    missed: bool,
}

impl Activity {
    fn new(seen: MonotonicInstant, interval: Duration) -> Arc<Self> {
        Arc::new(Self { seen: AtomicU64::new(seen.0), is_marked: AtomicBool::new(true), interval })
    }

    fn seen(&self) -> MonotonicInstant {
        MonotonicInstant(self.seen.load(Ordering::SeqCst))
    }
}

impl LastSeen {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, marks: Arc::default() }
    }

    /// Marks a session that was just loaded from the database; all in seconds, as the database counted.
    pub(super) async fn seen(
        &self,
        digest: &Digest,
        since_seen: f64,
        idle: f64,
        left: f64,
    ) -> Arc<Activity> {
        let now = MonotonicInstant::now();
        let span = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let interval = LONGEST_INTERVAL.min(span(idle / 20.0));
        let wait = interval.saturating_sub(span(since_seen));
        let activity = Activity::new(now, interval);
        let mark =
            PendingUpdate { activity: Arc::clone(&activity), due: now + wait, missed: false };
        // Could the row run out before the loop comes to it?
        if span(left) < wait + 3 * FLUSH_EVERY && wait.is_zero() {
            activity.is_marked.store(false, Ordering::SeqCst);
            let batch = vec![(digest.clone(), mark.clone())];
            if let Err(error) = self.write(&self.pool, batch, false).await {
                tracing::warn!(%error, "a session could not be marked as seen");
                self.mark(digest, mark);
            }
        } else {
            self.mark(digest, mark);
        }
        activity
    }

    /// Marks a session that was found in memory.
    pub(super) fn seen_again(
        &self,
        digest: &Digest,
        activity: &Arc<Activity>,
        now: MonotonicInstant,
    ) {
        activity.seen.fetch_max(now.0, Ordering::SeqCst);
        if !activity.is_marked.swap(true, Ordering::SeqCst) {
            let due = now + activity.interval;
            self.mark(digest, PendingUpdate { activity: Arc::clone(activity), due, missed: false });
        }
    }

    /// Sessions whose last activity is not yet written.
    pub fn pending_count(&self) -> usize {
        self.marks().len()
    }

    /// One mark a session. Two requests that loaded it at once hold an activity each: the newer mark takes over what the
    /// older one knew, and whoever still holds that one marks it anew when the session is seen again.
    fn mark(&self, digest: &Digest, mut mark: PendingUpdate) {
        mark.activity.is_marked.store(true, Ordering::SeqCst);
        let mut marks = self.marks();
        if let Some(other) = marks.get(digest) {
            if !Arc::ptr_eq(&other.activity, &mark.activity) {
                other.activity.is_marked.store(false, Ordering::SeqCst);
                mark.activity.seen.fetch_max(other.activity.seen().0, Ordering::SeqCst);
            }
            mark.due = mark.due.min(other.due);
            mark.missed &= other.missed;
        }
        marks.insert(digest.clone(), mark);
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
        let now = MonotonicInstant::now();
        let due: Vec<(Digest, PendingUpdate)> = {
            let mut marks = self.marks();
            marks.extract_if(|_, mark| all || mark.due <= now).collect()
        };
        // First unmarked, then read: who is seen in between is marked anew or read here.
        for (_, mark) in &due {
            mark.activity.is_marked.store(false, Ordering::SeqCst);
        }
        let mut chunks = due.chunks(BATCH);
        while let Some(chunk) = chunks.next() {
            if let Err(error) = self.write(pool, chunk.to_vec(), all).await {
                for (digest, mark) in chunk.iter().chain(chunks.flatten()) {
                    self.mark(digest, mark.clone());
                }
                return Err(error);
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        pool: &PgPool,
        batch: Vec<(Digest, PendingUpdate)>,
        early: bool,
    ) -> sqlx::Result<()> {
        // Another server may have written meanwhile: what is written of one session lies about an interval apart, whoever
        // writes it. Only the last flush of a server that stops may come sooner.
        let share = if early { 0.0 } else { 0.9 };
        let digests: Vec<Vec<u8>> =
            batch.iter().map(|(digest, _)| digest.as_bytes().to_vec()).collect();
        let ages: Vec<f64> =
            batch.iter().map(|(_, mark)| mark.activity.seen().elapsed().as_secs_f64()).collect();
        let written: Vec<Vec<u8>> = db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
            Box::pin(async move {
                // Losing the last seconds of "last seen" in a crash of PostgreSQL harms nobody, and
                // it is two to three times faster.
                sqlx::query!("SET LOCAL synchronous_commit = off").execute(&mut *connection).await?;
                // A row that somebody holds is passed over and comes again: an open transaction in psql stops
                // nobody else's, and who never waits is in no deadlock.
                sqlx::query_scalar!(
                    r#"
                    WITH mine AS MATERIALIZED (
                         SELECT token_digest
                           FROM sessions
                          WHERE token_digest = ANY($1::bytea[])
                            AND expires_at > now()
                            FOR NO KEY UPDATE SKIP LOCKED),
                         marks AS (
                         SELECT digest, now() - make_interval(secs => age) AS seen_at
                           FROM unnest($1::bytea[], $2::float8[]) AS marks (digest, age))
                    UPDATE sessions AS s
                       SET last_seen_at = GREATEST(s.last_seen_at, m.seen_at),
                           expires_at = GREATEST(
                               s.expires_at,
                               LEAST(m.seen_at + s.idle_timeout, s.absolute_expires_at))
                      FROM marks AS m
                      JOIN mine ON mine.token_digest = m.digest
                     WHERE s.token_digest = m.digest
                       AND s.expires_at > now()
                       AND s.last_seen_at < m.seen_at
                       AND s.last_seen_at <= m.seen_at - LEAST(interval '60 seconds', s.idle_timeout / 20) * $3::float8
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
            let written: HashSet<&[u8]> = written.iter().map(Vec::as_slice).collect();
            for (digest, mark) in &batch {
                if !mark.missed && !written.contains(digest.as_bytes()) {
                    let due = MonotonicInstant::now() + mark.activity.interval;
                    self.mark(digest, PendingUpdate { due, missed: true, ..mark.clone() });
                }
            }
        }
        Ok(())
    }

    fn marks(&self) -> MutexGuard<'_, HashMap<Digest, PendingUpdate>> {
        // A map of marks is whole after every operation, so a poisoned lock holds a good map.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgPoolOptions;

    use super::*;
    use crate::crypto::secret::Secret;

    #[tokio::test]
    async fn two_requests_that_load_one_session_at_once_leave_no_activity_behind() {
        let touch = LastSeen::new(PgPoolOptions::new().connect_lazy("postgres://nowhere").unwrap());
        let digest = Secret::generate().digest();
        // Due at once, and a minute later.
        let one = touch.seen(&digest, 120.0, 7200.0, 7000.0).await;
        let other = touch.seen(&digest, 0.0, 7200.0, 7200.0).await;
        let later = MonotonicInstant::now() + Duration::from_secs(5);
        for held in [&one, &other, &one] {
            touch.seen_again(&digest, held, later);
            let marks = touch.marks();
            let mark = &marks[&digest];
            assert_eq!(mark.activity.seen(), later, "the mark knows of the last request");
            assert!(mark.due <= MonotonicInstant::now(), "and is due as early as any");
        }
        assert_eq!(touch.pending_count(), 1);
    }

    #[tokio::test]
    async fn what_is_marked_while_it_is_written_is_not_lost_when_the_write_fails() {
        let touch = LastSeen::new(PgPoolOptions::new().connect_lazy("postgres://nowhere").unwrap());
        let digest = Secret::generate().digest();
        let one = touch.seen(&digest, 120.0, 7200.0, 7000.0).await;
        let taken = touch.marks().remove(&digest).unwrap();
        one.is_marked.store(false, Ordering::SeqCst);
        let other = touch.seen(&digest, 120.0, 7200.0, 7000.0).await;
        touch.mark(&digest, taken);
        let later = MonotonicInstant::now() + Duration::from_secs(5);
        touch.seen_again(&digest, &other, later);
        assert_eq!(touch.marks()[&digest].activity.seen(), later);
    }
}
