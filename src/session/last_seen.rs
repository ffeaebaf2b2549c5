//! Writes when sessions were last seen and from which IP address, which extends their idle timeout. A request
//! records its session in memory, and a loop writes the updates that are due in one statement. Each session is
//! written at most once per update interval. An update never moves a time backwards and never extends a session
//! that has expired.
//!
//! The update interval is a minute, or a twentieth of the idle timeout if that is shorter. A pending update
//! is written when that interval has passed since the last write, with the time of the latest activity. So no
//! session expires earlier than its idle timeout after the last request. A session that is about to expire is
//! written immediately.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;

use super::cache::clock::MonotonicInstant;
use crate::crypto::secret::Digest;
use crate::db;

/// Maximum update interval.
const MAX_INTERVAL: Duration = Duration::from_secs(60);
/// The interval at which the loop calls [`LastSeen::flush`].
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum number of rows per statement.
const BATCH_SIZE: usize = 1000;

/// The pending last-seen updates. Clones share them.
#[derive(Clone)]
pub struct LastSeen {
    pool: PgPool,
    pending: Arc<Mutex<HashMap<Digest, PendingUpdate>>>,
}

/// When this server last saw a session. Shared by its cache entry and its pending update, so that a request
/// that is served from the cache usually costs one atomic store.
#[derive(Debug)]
pub(super) struct SessionActivity {
    /// Milliseconds of [`MonotonicInstant`].
    last_seen: AtomicU64,
    /// The IP address of the client; `None` if it is not known.
    ip_address: Mutex<Option<IpAddr>>,
    /// A pending update refers to this activity.
    is_pending: AtomicBool,
    interval: Duration,
}

#[derive(Clone)]
struct PendingUpdate {
    activity: Arc<SessionActivity>,
    due: MonotonicInstant,
    /// An earlier write changed no row: the row was deleted or locked, or another server wrote it first. It
    /// is retried only once.
    is_retry: bool,
}

impl SessionActivity {
    fn new(last_seen: MonotonicInstant, ip: Option<IpAddr>, interval: Duration) -> Arc<Self> {
        Arc::new(Self {
            last_seen: AtomicU64::new(last_seen.0),
            ip_address: Mutex::new(ip),
            is_pending: AtomicBool::new(true),
            interval,
        })
    }

    /// Of a session that was found `since_seen` seconds after its last recorded activity, without a request. Its
    /// idle timeout is `idle` seconds.
    pub(super) fn found(idle: f64, since_seen: f64) -> Arc<Self> {
        let last_seen =
            MonotonicInstant::now().0.saturating_sub(span(since_seen).as_millis() as u64);
        let activity = Self::new(MonotonicInstant(last_seen), None, interval(idle));
        activity.is_pending.store(false, Ordering::SeqCst);
        activity
    }

    fn last_seen(&self) -> MonotonicInstant {
        MonotonicInstant(self.last_seen.load(Ordering::SeqCst))
    }

    fn ip_address(&self) -> MutexGuard<'_, Option<IpAddr>> {
        self.ip_address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records activity at `time`. Of two concurrent requests, the IP address of either may be kept.
    fn record(&self, time: MonotonicInstant, ip: Option<IpAddr>) {
        if self.last_seen.fetch_max(time.0, Ordering::SeqCst) <= time.0
            && let Some(ip) = ip
        {
            *self.ip_address() = Some(ip);
        }
    }
}

impl LastSeen {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, pending: Arc::default() }
    }

    /// Records that a request from `ip` loaded a session from the database. Its last recorded activity is
    /// `since_seen` seconds ago, its idle timeout is `idle` seconds, and it expires in `left` seconds, as
    /// computed by the database.
    pub(super) async fn record_load(
        &self,
        digest: &Digest,
        ip: Option<IpAddr>,
        since_seen: f64,
        idle: f64,
        left: f64,
    ) -> Arc<SessionActivity> {
        let now = MonotonicInstant::now();
        let interval = interval(idle);
        let wait = interval.saturating_sub(span(since_seen));
        let activity = SessionActivity::new(now, ip, interval);
        let update =
            PendingUpdate { activity: Arc::clone(&activity), due: now + wait, is_retry: false };
        // Written immediately, because the row could expire before the loop writes it.
        if span(left) < wait + 3 * FLUSH_INTERVAL && wait.is_zero() {
            activity.is_pending.store(false, Ordering::SeqCst);
            let batch = vec![(digest.clone(), update.clone())];
            if let Err(error) = self.write(&self.pool, batch, false).await {
                let what =
                    "the last activity of a session could not be written; it stays in memory";
                db::log_failure(what, &error.into());
                self.enqueue(digest, update);
            }
        } else {
            self.enqueue(digest, update);
        }
        activity
    }

    /// Records that a session was served from the cache, to a request from `ip`.
    pub(super) fn record_cache_hit(
        &self,
        digest: &Digest,
        ip: Option<IpAddr>,
        activity: &Arc<SessionActivity>,
        now: MonotonicInstant,
    ) {
        activity.record(now, ip);
        if !activity.is_pending.swap(true, Ordering::SeqCst) {
            let due = now + activity.interval;
            self.enqueue(
                digest,
                PendingUpdate { activity: Arc::clone(activity), due, is_retry: false },
            );
        }
    }

    /// Records activity on an open connection, from `ip`. Unlike a request, it does not load the session from the
    /// database now and then, so the update is due as soon as the last one is an update interval ago.
    pub(super) fn record_message(
        &self,
        digest: &Digest,
        ip: Option<IpAddr>,
        activity: &Arc<SessionActivity>,
        now: MonotonicInstant,
    ) {
        let due = now.max(activity.last_seen() + activity.interval);
        activity.record(now, ip);
        if !activity.is_pending.swap(true, Ordering::SeqCst) {
            let update = PendingUpdate { activity: Arc::clone(activity), due, is_retry: false };
            self.enqueue(digest, update);
        }
    }

    /// The number of sessions whose last activity is not yet written.
    pub fn pending_count(&self) -> usize {
        self.pending().len()
    }

    /// There is one pending update per session. Two requests that load a session at the same time have an
    /// activity each: the newer update adopts a later time of the older one, and a request that still holds the
    /// older activity enqueues it again at its next cache hit.
    fn enqueue(&self, digest: &Digest, mut update: PendingUpdate) {
        update.activity.is_pending.store(true, Ordering::SeqCst);
        let mut pending = self.pending();
        if let Some(other) = pending.get(digest) {
            if !Arc::ptr_eq(&other.activity, &update.activity) {
                other.activity.is_pending.store(false, Ordering::SeqCst);
                let (last_seen, ip) = (other.activity.last_seen(), *other.activity.ip_address());
                update.activity.record(last_seen, ip);
            }
            update.due = update.due.min(other.due);
            update.is_retry &= other.is_retry;
        }
        pending.insert(digest.clone(), update);
    }

    /// Writes the updates that are due. After an error, those that were not written stay pending.
    pub async fn flush(&self) -> sqlx::Result<()> {
        self.write_pending(&self.pool, false).await
    }

    /// Like [`Self::flush`], and logs an error.
    pub(super) async fn flush_and_log(&self) {
        if let Err(error) = self.flush().await {
            let what = "last activity could not be written; it stays in memory";
            db::log_failure(what, &error.into());
        }
    }

    /// Writes all updates, due or not, over `pool`: at shutdown, the connections of the shared pool are
    /// closed with the workers that opened them.
    pub async fn flush_all(&self, pool: &PgPool) -> sqlx::Result<()> {
        self.write_pending(pool, true).await
    }

    async fn write_pending(&self, pool: &PgPool, all: bool) -> sqlx::Result<()> {
        let now = MonotonicInstant::now();
        let due: Vec<(Digest, PendingUpdate)> = {
            let mut pending = self.pending();
            pending.extract_if(|_, update| all || update.due <= now).collect()
        };
        // The flag is cleared before the time is read: activity in between is either read below or enqueued
        // again.
        for (_, update) in &due {
            update.activity.is_pending.store(false, Ordering::SeqCst);
        }
        let mut chunks: Vec<_> = due.chunks(BATCH_SIZE).collect();
        while let Some(chunk) = chunks.pop() {
            match self.write(pool, chunk.to_vec(), all).await {
                Ok(()) => {}
                Err(error) if db::is_unavailable(&error) => {
                    for (digest, update) in chunk.iter().chain(chunks.into_iter().flatten()) {
                        self.enqueue(digest, update.clone());
                    }
                    return Err(error);
                }
                // One of the rows cannot be written, for example because of a trigger. The others are written, so
                // that their sessions do not expire; that row is tried again after its next activity.
                Err(error) if chunk.len() == 1 => {
                    let what = "the last activity of a session cannot be written";
                    db::log_failure(what, &error.into());
                }
                Err(_) => chunks.extend(<[_; 2]>::from(chunk.split_at(chunk.len() / 2))),
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        pool: &PgPool,
        batch: Vec<(Digest, PendingUpdate)>,
        ignores_interval: bool,
    ) -> sqlx::Result<()> {
        // Another server may have written the session meanwhile: the writes of all servers together are about
        // an interval apart. Only the last flush before a server stops may write earlier.
        let share = if ignores_interval { 0.0 } else { 0.9 };
        let digests: Vec<Vec<u8>> =
            batch.iter().map(|(digest, _)| digest.as_bytes().to_vec()).collect();
        let ages: Vec<f64> = batch
            .iter()
            .map(|(_, update)| update.activity.last_seen().elapsed().as_secs_f64())
            .collect();
        let ips: Vec<Option<String>> = batch
            .iter()
            .map(|(_, update)| update.activity.ip_address().map(|ip| ip.to_string()))
            .collect();
        let written = write_rows(pool, digests, ages, ips, share).await?;
        if written.len() < batch.len() {
            let written: HashSet<&[u8]> = written.iter().map(Vec::as_slice).collect();
            for (digest, update) in &batch {
                if !update.is_retry && !written.contains(digest.as_bytes()) {
                    let due = MonotonicInstant::now() + update.activity.interval;
                    let retry = PendingUpdate { due, is_retry: true, ..update.clone() };
                    self.enqueue(digest, retry);
                }
            }
        }
        Ok(())
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<Digest, PendingUpdate>> {
        // The map is consistent after every statement that may panic, so a poisoned lock is used.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The update interval of a session whose idle timeout is `idle` seconds.
fn interval(idle: f64) -> Duration {
    MAX_INTERVAL.min(span(idle / 20.0))
}

fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Writes that the sessions of `digests` were last seen `ages` seconds ago from `ips`, and returns the digests
/// of the rows that were written. A session that was written less than `share` of an update interval before is
/// skipped.
async fn write_rows(
    pool: &PgPool,
    digests: Vec<Vec<u8>>,
    ages: Vec<f64>,
    ips: Vec<Option<String>>,
    share: f64,
) -> sqlx::Result<Vec<Vec<u8>>> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            // Two to three times faster. If PostgreSQL crashes, only the last seconds of activity are
            // lost.
            sqlx::query!("SET LOCAL synchronous_commit = off").execute(&mut *connection).await?;
            // A locked row is skipped and retried later: an open transaction in psql does not delay the
            // updates of other sessions, and a statement that never waits for a lock cannot deadlock.
            sqlx::query_scalar!(
                r#"
                WITH mine AS MATERIALIZED (
                     SELECT token_digest
                       FROM sessions
                      WHERE token_digest = ANY($1::bytea[])
                        AND expires_at > now()
                        FOR NO KEY UPDATE SKIP LOCKED),
                     marks AS (
                     SELECT digest, now() - make_interval(secs => age) AS seen_at, ip
                       FROM unnest($1::bytea[], $2::float8[], $4::text[]) AS marks (digest, age, ip))
                UPDATE sessions AS s
                   SET last_seen_at = GREATEST(s.last_seen_at, m.seen_at),
                       last_seen_ip_address = COALESCE(CAST(m.ip AS inet), s.last_seen_ip_address),
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
                &ips as &[Option<String>],
            )
            .fetch_all(connection)
            .await
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use sqlx::postgres::PgPoolOptions;

    use super::*;
    use crate::crypto::secret::Secret;

    const HOME: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    const ELSEWHERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));

    #[tokio::test]
    async fn two_requests_that_load_one_session_at_the_same_time_lose_no_activity() {
        let last_seen =
            LastSeen::new(PgPoolOptions::new().connect_lazy("postgres://nowhere").unwrap());
        let digest = Secret::generate().digest();
        // Due immediately, and a minute later.
        let one = last_seen.record_load(&digest, HOME, 120.0, 7200.0, 7000.0).await;
        let other = last_seen.record_load(&digest, HOME, 0.0, 7200.0, 7200.0).await;
        let later = MonotonicInstant::now() + Duration::from_secs(5);
        for held in [&one, &other, &one] {
            last_seen.record_cache_hit(&digest, ELSEWHERE, held, later);
            let pending = last_seen.pending();
            let update = &pending[&digest];
            assert_eq!(update.activity.last_seen(), later, "it has the time of the last request");
            assert_eq!(*update.activity.ip_address(), ELSEWHERE);
            assert!(update.due <= MonotonicInstant::now(), "and is due as early as any");
        }
        assert_eq!(last_seen.pending_count(), 1);
    }

    #[tokio::test]
    async fn activity_during_a_write_is_not_lost_when_the_write_fails() {
        let last_seen =
            LastSeen::new(PgPoolOptions::new().connect_lazy("postgres://nowhere").unwrap());
        let digest = Secret::generate().digest();
        let one = last_seen.record_load(&digest, HOME, 120.0, 7200.0, 7000.0).await;
        let taken = last_seen.pending().remove(&digest).unwrap();
        one.is_pending.store(false, Ordering::SeqCst);
        let other = last_seen.record_load(&digest, HOME, 120.0, 7200.0, 7000.0).await;
        last_seen.enqueue(&digest, taken);
        let later = MonotonicInstant::now() + Duration::from_secs(5);
        last_seen.record_cache_hit(&digest, ELSEWHERE, &other, later);
        assert_eq!(last_seen.pending()[&digest].activity.last_seen(), later);
        assert_eq!(*last_seen.pending()[&digest].activity.ip_address(), ELSEWHERE);
    }
}
