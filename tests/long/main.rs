//! Tests that take too long, or too much disk, for every run: run by `.ci/long` or `cargo test --test long`.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

#[path = "../it/support/mod.rs"]
#[expect(dead_code, reason = "tests/it uses the rest")]
mod support;

mod lighthouse;
mod live;
mod notification_queue;
#[path = "../it/random_walk/mod.rs"]
mod random_walk;
mod revocation;
mod standby;
