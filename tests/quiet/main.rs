//! What is judged by the clock, and what goes wrong underneath. Cargo runs one test binary after another, so these have the
//! machine to themselves; and each other they let alone by a lock.

#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

#[path = "../it/support/mod.rs"]
#[expect(dead_code, reason = "the rest of it is for tests/it")]
mod support;

mod bystander;
mod enumeration;
mod faults;
mod links;
mod median;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static MACHINE: Mutex<()> = Mutex::new(());

/// The machine, for as long as the answer is kept.
fn alone() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks again until it is as wished; answers how long that took.
fn until(mut wished: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !wished() {
        assert!(began.elapsed() < Duration::from_secs(30), "it never came");
        std::thread::sleep(Duration::from_millis(10));
    }
    began.elapsed()
}
