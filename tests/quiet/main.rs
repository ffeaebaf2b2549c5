//! Tests that measure time, and outages. Cargo runs test binaries one after another, so no other test runs
//! beside these; a lock keeps them from running beside each other.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

#[path = "../it/support/mod.rs"]
#[expect(dead_code, reason = "tests/it uses the rest")]
mod support;

mod broken_connections;
mod enumeration;
mod idle_server;
mod outages;
mod rolling_restart;
mod timing;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static MACHINE: Mutex<()> = Mutex::new(());

/// Waits for the other tests of this binary; they wait until the guard is dropped.
fn exclusive() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls until `condition` is true, for at most 30 seconds; returns how long it took.
fn wait_until(mut condition: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(30), "still false after 30 seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
    began.elapsed()
}
