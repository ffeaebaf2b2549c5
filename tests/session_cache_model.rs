//! Model-checks the session cache and the rounds of the barrier with loom: every interleaving of their atomics
//! and locks, and every order that the memory model allows. The source files are the server's own, with loom's
//! types in place of std's.

mod sync {
    pub use loom::sync::Mutex;
    pub use loom::sync::atomic::{AtomicU64, Ordering};
}

#[path = "../src/session/cache/entries.rs"]
mod cache;
#[path = "../src/session/cache/rounds.rs"]
mod rounds;
#[path = "../src/session/cache/watch_state.rs"]
mod watch_state;

use std::sync::Arc;

use cache::{Cache, Entry};
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use rounds::Rounds;
use watch_state::{Phase, WatchState};

const KEY: u8 = 1;
const FAR: u64 = 1000;

struct World {
    cache: Cache<u8, u64>,
    /// One row: its version.
    database: AtomicU64,
}

impl World {
    fn new() -> Arc<Self> {
        let cache = Cache::new(1, 1, 1);
        cache.set_live_until(FAR);
        Arc::new(Self { cache, database: AtomicU64::new(0) })
    }

    /// Fills the cache as `store.rs` does on a miss.
    fn fill(&self) {
        let stamp = self.cache.stamp();
        let version = self.database.load(Ordering::SeqCst);
        self.cache.put(KEY, 0, Arc::new(Entry::new(stamp, Some(0), FAR, version)), 1);
    }

    fn read(&self) -> Option<u64> {
        self.cache.get(&KEY, 0, 1).map(|entry| entry.value)
    }
}

/// Asserts that no value from before the change is readable once `invalidate` has returned, while other
/// threads fill and invalidate.
fn assert_nothing_stale_after(invalidate: impl Fn(&World) + Send + Sync + Copy + 'static) {
    loom::model(move || {
        let world = World::new();
        let filler = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.fill();
                world.fill();
            })
        };
        let other = {
            let world = Arc::clone(&world);
            // Another session in the same stripe is invalidated, which advances the same clock.
            thread::spawn(move || world.cache.invalidate_session(0))
        };
        world.database.store(1, Ordering::SeqCst);
        invalidate(&world);
        assert_ne!(world.read(), Some(0));
        filler.join().expect("no thread panics");
        assert_ne!(world.read(), Some(0));
        other.join().expect("no thread panics");
        assert_ne!(world.read(), Some(0));
    });
}

#[test]
fn no_cached_value_outlives_the_invalidation_of_its_session() {
    assert_nothing_stale_after(|world| world.cache.invalidate_session(0));
}

#[test]
fn no_cached_value_outlives_the_invalidation_of_its_user() {
    assert_nothing_stale_after(|world| world.cache.invalidate_user(0));
}

#[test]
fn no_cached_value_outlives_the_invalidation_of_everything() {
    assert_nothing_stale_after(|world| world.cache.invalidate_all());
}

#[test]
fn no_value_cached_before_a_reconnection_is_readable_after_it() {
    loom::model(|| {
        let world = World::new();
        world.cache.set_live_until(0);
        let filler = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.fill())
        };
        let listener = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                // The notification was sent while the connection was down. On reconnection: LISTEN,
                // invalidate everything, then mark the cache as live.
                world.database.store(1, Ordering::SeqCst);
                world.cache.invalidate_all();
                world.cache.set_live_until(FAR);
            })
        };
        // At any time, either the cache is not live or the value is not stale.
        assert_ne!(world.read(), Some(0));
        filler.join().unwrap();
        listener.join().unwrap();
        assert_ne!(world.read(), Some(0));
    });
}

#[test]
fn a_watched_session_is_not_live_after_its_revocation() {
    loom::model(|| {
        let world = World::new();
        world.fill();
        // The registry, with the one session that is watched.
        let (registered, watched) = (Arc::new(Mutex::new(false)), Arc::new(WatchState::new()));
        let watcher = {
            let (world, registered, watched) =
                (Arc::clone(&world), Arc::clone(&registered), Arc::clone(&watched));
            thread::spawn(move || {
                *registered.lock().unwrap() = true;
                // First from the cache, later from the database.
                for _ in 0..2 {
                    let Some(check) = watched.begin() else { return };
                    let found =
                        world.read().unwrap_or_else(|| world.database.load(Ordering::SeqCst));
                    if found == 0 {
                        watched.confirm(check);
                    } else {
                        watched.end(1);
                    }
                }
            })
        };
        // Version 1 stands for a session that has ended.
        world.database.store(1, Ordering::SeqCst);
        world.cache.invalidate_session(0);
        let is_watched = *registered.lock().unwrap();
        if is_watched {
            watched.mark();
            assert_ne!(watched.phase(), Phase::Live);
        }
        watcher.join().expect("no thread panics");
        assert_ne!(watched.phase(), Phase::Live);
    });
}

#[test]
fn two_concurrent_invalidations_both_take_effect() {
    loom::model(|| {
        let world = World::new();
        world.fill();
        assert_eq!(world.read(), Some(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    world.database.fetch_add(1, Ordering::SeqCst);
                    world.cache.invalidate_session(0);
                    world.fill();
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        // If a value is readable now, it is the newest.
        assert!(world.read().is_none_or(|version| version == 2));
    });
}

#[test]
fn nothing_is_readable_after_the_deadline_of_the_entry_or_of_the_cache() {
    loom::model(|| {
        let world = World::new();
        world.fill();
        assert_eq!(world.read(), Some(0));
        assert!(world.cache.get(&KEY, 0, FAR).is_none());
        world.cache.set_live_until(1);
        assert!(world.read().is_none());
        assert_eq!((world.cache.live_until(), world.cache.count()), (1, 1));
    });
}

/// Runs rounds as `barrier.rs` does. `drawn[n - 1]` becomes what was committed when round n drew its number.
fn run_rounds(rounds: &Rounds, committed: &AtomicU64, drawn: &[AtomicU64]) {
    while let Some(round) = rounds.begin() {
        let seen = committed.load(Ordering::SeqCst);
        drawn[round as usize - 1].store(seen, Ordering::SeqCst);
    }
}

#[test]
fn every_caller_is_served_by_a_round_that_began_after_it_joined() {
    loom::model(|| {
        let world = Arc::new((Rounds::default(), AtomicU64::new(0), [0, 0, 0].map(AtomicU64::new)));
        let callers: Vec<_> = [1, 2]
            .into_iter()
            .map(|revocation| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    let (rounds, committed, drawn) = &*world;
                    committed.fetch_or(revocation, Ordering::SeqCst);
                    let joined = rounds.join();
                    if joined.starts {
                        run_rounds(rounds, committed, drawn);
                    }
                    (revocation, joined.round)
                })
            })
            .collect();
        let served: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        let (rounds, _, drawn) = &*world;
        for (revocation, round) in served {
            let seen = drawn[round as usize - 1].load(Ordering::SeqCst);
            assert_ne!(seen & revocation, 0, "the round began before the revocation");
        }
        assert!(rounds.join().starts, "no rounds are left running");
    });
}

#[test]
fn a_caller_of_an_interrupted_round_is_served_by_a_later_one() {
    loom::model(|| {
        let world = Arc::new((Rounds::default(), AtomicU64::new(0), [0, 0, 0].map(AtomicU64::new)));
        let first = world.0.join();
        assert!(first.starts);
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.1.fetch_or(1, Ordering::SeqCst);
                let joined = world.0.join();
                if joined.starts {
                    run_rounds(&world.0, &world.1, &world.2);
                }
                joined
            })
        };
        // The task that runs the round is dropped before the round ends.
        world.0.begin();
        world.0.interrupt();
        let joined = other.join().unwrap();
        let next = world.0.join();
        if next.starts {
            run_rounds(&world.0, &world.1, &world.2);
        }
        let served = |round: u64| world.2[round as usize - 1].load(Ordering::SeqCst) & 1;
        let is_served = |round: u64| (round..=3).any(|later| served(later) == 1);
        assert!(is_served(joined.round) && is_served(next.round));
    });
}
