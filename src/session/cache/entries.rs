//! The cache of sessions in memory, and the rule by which a server may use an entry without a query.
//!
//! ```text
//!   PostgreSQL            listener (one connection)          cache
//!   ───────────           ─────────────────────────          ────────────────────────────────────
//!   commit of a   ──NOTIFY──►  sessions:9f3a      ──────►    clock += 1; session stripe 9f3a = clock
//!   change                     users:07c1         ──────►    clock += 1; user stripe 07c1 = clock
//!                              all                ──────►    clock += 1; invalidated_all = clock
//!   heartbeat     ──NOTIFY──►  our own heartbeat  ──────►    live until (sent + 3 s)
//!
//!   miss:   stamp = clock ─► SELECT ─► entry { stamp, deadline, value }
//!   hit:    now < live_until  and  now < entry.deadline
//!           and  session stripe, user stripe, invalidated_all  ≤  entry.stamp
//! ```
//!
//! # Why a hit is correct
//!
//! Let a change commit at time C, and let its invalidation on this server return at time I, after C.
//!
//! 1. *After I, no entry from before C is readable.* The invalidation advanced the clock, after C, to some
//!    value c, and stored c in the stripe before it returned. An entry whose SELECT started before C took its
//!    stamp even earlier, so its stamp is less than c, and the stripe makes it unreadable, whether it was
//!    stored before I or is stored after I. An entry with a stamp of c or more started its SELECT after C and
//!    has read the change. Storing an entry checks nothing, so there is no race between a check and a store.
//! 2. *Without notifications from PostgreSQL, an entry is readable for at most the lease.* Notifications
//!    arrive in the order of commits. When this server receives its own heartbeat, sent at time S, it has
//!    processed every commit before that heartbeat, and the cache is live until S + lease. When no heartbeat
//!    returns, the lease expires. The lease is measured with a clock that keeps running while the process is
//!    stopped or the machine is suspended.
//! 3. *No change is missed during a reconnection.* The order is: LISTEN, invalidate everything, then mark the
//!    cache as live. An entry that is readable afterwards was selected after LISTEN took effect, so every
//!    later change is notified.
//! 4. *A cached session expires no later than its row as it was read.* The deadline is the remaining lifetime
//!    that the database computed, at most a minute, so that a lifetime that another server extended is
//!    noticed too.
//! 5. *A change without a notification* (the notification queue was full) incremented `session_cache_resets`
//!    in its own transaction. A heartbeat that starts after C reads the new number and invalidates everything
//!    before it renews the lease. A heartbeat that started before C keeps the cache live for at most the
//!    lease.
//!
//! # Assumptions about the database connections
//!
//! The tests of these assumptions are in `tests/it/standby.rs`.
//!
//! * The SELECT of an entry ran on a primary: the statement fails in recovery (`lookup.rs`). A standby that
//!   lags behind would return the state before C.
//! * It ran on the PostgreSQL server that the notifications come from: the statement returns the start time
//!   of the server, and an entry from another server is not stored (`ListenerStatus::comes_from` in
//!   `invalidation.rs`). When the listener connects to another server, point 3 invalidates everything that
//!   was read from the former one, and a late response of the former one is not stored either.
//! * A PostgreSQL server delivers notifications in the order of commits, and only those of its own commits.
//!   There is one primary at a time: if a former primary keeps running alongside the new one (split brain),
//!   the cluster manager must fence it.
//!
//! A stripe (two bytes of the digest or of the user's id) stands for many sessions. Invalidating a stripe
//! also invalidates the other sessions in it, which costs one SELECT each and is always correct.
//! tests/session_cache_model.rs runs this file under loom through every interleaving. `barrier.rs` explains
//! how other servers wait for I.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError};

use super::sync::{AtomicU64, Mutex, Ordering};

/// The two bytes by which entries are invalidated.
pub type Stripe = u16;

/// The value of the clock before a SELECT.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(u64);

/// A value that was read from the database.
#[derive(Debug)]
pub struct Entry<V> {
    stamp: Stamp,
    user: Option<Stripe>,
    deadline: u64,
    /// The value.
    pub value: V,
}

impl<V> Entry<V> {
    /// `stamp` was taken before the SELECT started. `user` is the stripe of the user whose data the value
    /// contains. `deadline` is in milliseconds of the same clock as `now` in [`Cache::get`].
    pub fn new(stamp: Stamp, user: Option<Stripe>, deadline: u64, value: V) -> Self {
        Self { stamp, user, deadline, value }
    }
}

type Shard<K, V> = Mutex<HashMap<K, Arc<Entry<V>>>>;

/// Entries by key, and the invalidations that make them unreadable.
pub struct Cache<K, V> {
    /// Counts invalidations.
    clock: AtomicU64,
    /// The clock at the last invalidation of everything.
    invalidated_all: AtomicU64,
    /// The clock at the last invalidation of each stripe.
    sessions: Box<[AtomicU64]>,
    users: Box<[AtomicU64]>,
    /// Milliseconds; zero: the cache is not live.
    live_until: AtomicU64,
    shards: Box<[Shard<K, V>]>,
    /// Maximum number of entries in a shard.
    shard_size: usize,
}

impl<K: Eq + Hash + Clone, V> Cache<K, V> {
    /// A cache for about `size` entries, with `stripes` stripes of each kind. `stripes` and `shards` are
    /// powers of two.
    pub fn new(size: usize, stripes: usize, shards: usize) -> Self {
        let zeros = || (0..stripes).map(|_| AtomicU64::new(0)).collect();
        Self {
            clock: AtomicU64::new(0),
            invalidated_all: AtomicU64::new(0),
            sessions: zeros(),
            users: zeros(),
            live_until: AtomicU64::new(0),
            shards: (0..shards).map(|_| Mutex::new(HashMap::new())).collect(),
            shard_size: (size / shards).max(1),
        }
    }

    /// Returns the current clock value. Call it before the SELECT starts, so that an invalidation during the
    /// SELECT makes the entry unreadable.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.clock.load(Ordering::Acquire))
    }

    /// The entry of `key`, if it is valid at `now`.
    pub fn get(&self, key: &K, session: Stripe, now: u64) -> Option<Arc<Entry<V>>> {
        if now >= self.live_until.load(Ordering::Acquire) {
            return None;
        }
        let entry = {
            let shard = self.shard(session).lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(shard.get(key)?)
        };
        self.is_valid(&entry, session, now).then_some(entry)
    }

    fn is_valid(&self, entry: &Entry<V>, session: Stripe, now: u64) -> bool {
        let Stamp(stamp) = entry.stamp;
        now < entry.deadline
            && self.stripe(&self.sessions, session).load(Ordering::Acquire) <= stamp
            && self.invalidated_all.load(Ordering::Acquire) <= stamp
            && entry
                .user
                .is_none_or(|user| self.stripe(&self.users, user).load(Ordering::Acquire) <= stamp)
    }

    /// Stores an entry. If the shard is full, first removes expired entries. If that frees too little,
    /// removes all entries, which are valid for at most a minute anyway.
    pub fn put(&self, key: K, session: Stripe, entry: Arc<Entry<V>>, now: u64) {
        let mut shard = self.shard(session).lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= self.shard_size && !shard.contains_key(&key) {
            shard.retain(|_, entry| now < entry.deadline);
            if shard.len() > self.shard_size - self.shard_size / 8 {
                shard.clear();
            }
        }
        shard.insert(key, entry);
    }

    /// When this returns, no value of these sessions whose SELECT started before the call is readable.
    pub fn invalidate_session(&self, session: Stripe) {
        let now = self.tick();
        self.stripe(&self.sessions, session).fetch_max(now, Ordering::AcqRel);
    }

    /// Like [`Self::invalidate_session`], for all values with data of these users.
    pub fn invalidate_user(&self, user: Stripe) {
        let now = self.tick();
        self.stripe(&self.users, user).fetch_max(now, Ordering::AcqRel);
    }

    /// Like [`Self::invalidate_session`], for all values. Also frees their memory.
    pub fn invalidate_all(&self) {
        let now = self.tick();
        self.invalidated_all.fetch_max(now, Ordering::AcqRel);
        for shard in &self.shards {
            *shard.lock().unwrap_or_else(PoisonError::into_inner) = HashMap::new();
        }
    }

    /// Sets the time until which [`Self::get`] returns entries. Zero: it returns none.
    pub fn set_live_until(&self, deadline: u64) {
        self.live_until.store(deadline, Ordering::Release);
    }

    /// The time until which [`Self::get`] returns entries. Zero: it returns none.
    pub fn live_until(&self) -> u64 {
        self.live_until.load(Ordering::Acquire)
    }

    /// The number of entries, valid or not.
    pub fn count(&self) -> usize {
        let lock = |shard: &Shard<K, V>| shard.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.shards.iter().map(lock).sum()
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn stripe<'a>(&self, stripes: &'a [AtomicU64], stripe: Stripe) -> &'a AtomicU64 {
        &stripes[usize::from(stripe) % stripes.len()]
    }

    fn shard(&self, session: Stripe) -> &Shard<K, V> {
        &self.shards[usize::from(session) % self.shards.len()]
    }
}
