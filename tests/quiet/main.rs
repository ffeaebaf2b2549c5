//! What is judged by the clock, and what goes wrong underneath. Cargo runs one test binary after another, so these have the
//! machine to themselves; and each other they let alone by a lock.

#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

#[path = "../it/support/mod.rs"]
#[expect(dead_code, reason = "the rest of it is for tests/it")]
mod support;

mod bystander;
mod enumeration;
mod faults;
mod median;

use std::sync::{Mutex, MutexGuard, PoisonError};

static MACHINE: Mutex<()> = Mutex::new(());

/// The machine, for as long as the answer is kept.
fn alone() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}
