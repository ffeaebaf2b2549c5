//! What a server knows of sessions without asking, and when it may say so.
//!
//! ```text
//!   PostgreSQL            feed (one connection)              cache
//!   ───────────           ─────────────────────              ─────────────────────────────
//!   commit of a   ──NOTIFY──►  sessions:9f3a      ──────►    clock += 1; stripe[9f3a] = clock
//!   change                     users:07c1         ──────►    clock += 1; user stripe = clock
//!                              all                ──────►    clock += 1; forgotten = clock
//!   beat          ──NOTIFY──►  our own beat       ──────►    trusted until (sent + 3 s)
//!
//!   a miss:   stamp = clock ─► SELECT ─► entry { stamp, deadline, value }
//!   a hit:    now < trusted  and  now < deadline
//!             and  stripe[session], stripe[user], forgotten  ≤  entry.stamp
//! ```
//!
//! Why a hit is right. Let a change commit at C and let an invalidation of it return at I on this server,
//! C before I.
//!
//! 1. *After I no entry from before C is readable.* The invalidation raised the clock to some c after C and
//!    wrote c to the stripe before it returned. An entry whose SELECT began before C took its stamp
//!    before that, so its stamp is below c, and c in the stripe makes it unreadable, whether it was stored
//!    before I or is stored after. An entry with a stamp of c or more began its SELECT after C and saw the
//!    change. Nothing is checked when an entry is stored, so there is no race to lose there.
//! 2. *Without a notification from PostgreSQL an entry is readable for the lease at most.* Notifications arrive in
//!    the order of commits. Our own heartbeat, sent at S and now back, says that every commit before it
//!    has been processed here; until S + lease that is believed. When no heartbeat comes back, the lease runs out
//!    by a clock that neither a stopped process nor a sleeping machine holds up.
//! 3. *Nothing slips through while the connection is made again.* First LISTEN, then forget everything, then
//!    trust: an entry that is readable afterwards was selected after LISTEN had taken effect, so what
//!    changed later is announced.
//! 4. *A session ends in memory no later than on its row as it was read*: the deadline is the remaining life
//!    that the database computed, a minute at most, so that a life which another server lengthened is
//!    seen too.
//! 5. *A change without a notification* (the notification queue was full) raised `session_cache_resets` in its own
//!    transaction. A heartbeat that begins after C reads that, and forgets everything before it renews the lease; one
//!    that began before C is believed for the lease at most.
//!
//! What is assumed of the database's connections, and the test that holds it (`tests/it/standby.rs`):
//!
//! * The SELECT of an entry ran on a primary: the statement itself fails in recovery (`lookup.rs`). A standby that is
//!   behind would answer with what it knew before C.
//! * It ran on the PostgreSQL that the notifications come from: the statement says when that server was started, and an
//!   entry of another server is not stored ([`super::invalidation::Status::comes_from`]). When the notification connection finds
//!   another server, 3 forgets what came from the former one, and a late answer of that one is not stored either.
//! * A server of PostgreSQL delivers notifications in the order of commits, and those of its own commits only. There is
//!   one primary at a time; a former primary that goes on serving beside the new one (split brain) must be kept from it
//!   by the cluster manager.
//!
//! Stripes (two bytes of the digest, of the user's id) stand for many sessions each; a neighbor that is
//! forgotten as well costs one SELECT and is never wrong. tests/session_cache_model.rs runs this very file under
//! loom through every interleaving. How others wait for I: `barrier.rs`.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError};

use super::sync::{AtomicU64, Mutex, Ordering};

/// What a key or a user is forgotten by: two bytes.
pub type Stripe = u16;

/// The clock as it stood before a SELECT.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(u64);

/// Something read from the database.
#[derive(Debug)]
pub struct Entry<V> {
    stamp: Stamp,
    user: Option<Stripe>,
    deadline: u64,
    /// What was read.
    pub value: V,
}

impl<V> Entry<V> {
    /// `stamp` was taken before the SELECT began; `user` is the stripe of whom it tells; `deadline` in
    /// milliseconds of the clock that `now` is asked of.
    pub fn new(stamp: Stamp, user: Option<Stripe>, deadline: u64, value: V) -> Self {
        Self { stamp, user, deadline, value }
    }
}

type Shard<K, V> = Mutex<HashMap<K, Arc<Entry<V>>>>;

/// Entries by key, and what makes them unreadable.
pub struct Cache<K, V> {
    /// Counts invalidations.
    clock: AtomicU64,
    /// The clock at the last "forget everything".
    forgotten: AtomicU64,
    /// The clock at the last invalidation of each stripe.
    sessions: Box<[AtomicU64]>,
    users: Box<[AtomicU64]>,
    /// Milliseconds; zero when nothing may be believed.
    live_until: AtomicU64,
    shards: Box<[Shard<K, V>]>,
    /// Entries in a shard at most.
    shard_size: usize,
}

impl<K: Eq + Hash + Clone, V> Cache<K, V> {
    /// Room for about `size` entries; `stripes` of each kind and `shards`, powers of two.
    pub fn new(size: usize, stripes: usize, shards: usize) -> Self {
        let zeros = || (0..stripes).map(|_| AtomicU64::new(0)).collect();
        Self {
            clock: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            sessions: zeros(),
            users: zeros(),
            live_until: AtomicU64::new(0),
            shards: (0..shards).map(|_| Mutex::new(HashMap::new())).collect(),
            shard_size: (size / shards).max(1),
        }
    }

    /// To be taken before the SELECT begins, so that [`Self::put`] stores nothing that was forgotten
    /// meanwhile.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.clock.load(Ordering::Acquire))
    }

    /// The entry of `key`, when it may be believed `now`.
    pub fn get(&self, key: &K, session: Stripe, now: u64) -> Option<Arc<Entry<V>>> {
        if now >= self.live_until.load(Ordering::Acquire) {
            return None;
        }
        let entry = {
            let shard = self.shard(session).lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(shard.get(key)?)
        };
        self.is_readable(&entry, session, now).then_some(entry)
    }

    fn is_readable(&self, entry: &Entry<V>, session: Stripe, now: u64) -> bool {
        let Stamp(stamp) = entry.stamp;
        now < entry.deadline
            && self.stripe(&self.sessions, session).load(Ordering::Acquire) <= stamp
            && self.forgotten.load(Ordering::Acquire) <= stamp
            && entry
                .user
                .is_none_or(|user| self.stripe(&self.users, user).load(Ordering::Acquire) <= stamp)
    }

    /// Stores what was read. A full shard first drops what nobody can read any more, and when that is too
    /// little, everything: entries live for a minute, so nothing is dear.
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

    /// When this returns, nothing that was read of these sessions before the call is readable.
    pub fn invalidate_session(&self, session: Stripe) {
        let now = self.tick();
        self.stripe(&self.sessions, session).fetch_max(now, Ordering::AcqRel);
    }

    /// The same for everything that tells of these people.
    pub fn invalidate_user(&self, user: Stripe) {
        let now = self.tick();
        self.stripe(&self.users, user).fetch_max(now, Ordering::AcqRel);
    }

    /// The same for everything. The memory is given back as well.
    pub fn invalidate_all(&self) {
        let now = self.tick();
        self.forgotten.fetch_max(now, Ordering::AcqRel);
        for shard in &self.shards {
            *shard.lock().unwrap_or_else(PoisonError::into_inner) = HashMap::new();
        }
    }

    /// Entries may be believed until then.
    pub fn set_live_until(&self, moment: u64) {
        self.live_until.store(moment, Ordering::Release);
    }

    /// Until when entries may be believed; zero: not at all.
    pub fn live_until(&self) -> u64 {
        self.live_until.load(Ordering::Acquire)
    }

    /// Entries, readable or not.
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
