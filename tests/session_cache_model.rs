//! The cache under loom: every interleaving of its atomics and locks, and every order that the memory model
//! allows. It is the very file that the program is made of, with loom's parts in the place of std's.

mod sync {
    pub use loom::sync::Mutex;
    pub use loom::sync::atomic::{AtomicU64, Ordering};
}

#[path = "../src/session/cache/entries.rs"]
mod cache;

use std::sync::Arc;

use cache::{Cache, Entry};
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

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
        cache.trust_until(FAR);
        Arc::new(Self { cache, database: AtomicU64::new(0) })
    }

    /// What `store.rs` does on a miss.
    fn fill(&self) {
        let stamp = self.cache.stamp();
        let version = self.database.load(Ordering::SeqCst);
        self.cache.put(KEY, 0, Arc::new(Entry::new(stamp, Some(0), FAR, version)), 1);
    }

    fn read(&self) -> Option<u64> {
        self.cache.get(&KEY, 0, 1).map(|entry| entry.value)
    }
}

/// Nothing from before the change may be readable once the invalidation has returned, whatever else goes on.
fn nothing_stale_after(invalidate: impl Fn(&World) + Send + Sync + Copy + 'static) {
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
            // Another change of a neighbor, whose invalidation raises the same clock.
            thread::spawn(move || world.cache.forget_session(0))
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
fn no_fill_outlives_the_invalidation_of_its_session() {
    nothing_stale_after(|world| world.cache.forget_session(0));
}

#[test]
fn no_fill_outlives_the_invalidation_of_its_user() {
    nothing_stale_after(|world| world.cache.forget_user(0));
}

#[test]
fn no_fill_outlives_forgetting_everything() {
    nothing_stale_after(|world| world.cache.forget_all());
}

#[test]
fn after_a_reconnection_nothing_from_before_it_is_trusted() {
    loom::model(|| {
        let world = World::new();
        world.cache.trust_until(0);
        let filler = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.fill())
        };
        let feed = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                // The change was announced while nobody listened. Now: LISTEN, forget everything, trust.
                world.database.store(1, Ordering::SeqCst);
                world.cache.forget_all();
                world.cache.trust_until(FAR);
            })
        };
        // A reader at any moment: either there is no trust, or nothing stale.
        assert_ne!(world.read(), Some(0));
        filler.join().unwrap();
        feed.join().unwrap();
        assert_ne!(world.read(), Some(0));
    });
}

#[test]
fn two_invalidations_at_once_both_count() {
    loom::model(|| {
        let world = World::new();
        world.fill();
        assert_eq!(world.read(), Some(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    world.database.fetch_add(1, Ordering::SeqCst);
                    world.cache.forget_session(0);
                    world.fill();
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        // Whatever is readable now is the newest.
        assert!(world.read().is_none_or(|version| version == 2));
    });
}

#[test]
fn past_its_deadline_or_its_lease_nothing_is_readable() {
    loom::model(|| {
        let world = World::new();
        world.fill();
        assert_eq!(world.read(), Some(0));
        assert!(world.cache.get(&KEY, 0, FAR).is_none());
        world.cache.trust_until(1);
        assert!(world.read().is_none());
        assert_eq!((world.cache.trusted_until(), world.cache.count()), (1, 1));
    });
}
