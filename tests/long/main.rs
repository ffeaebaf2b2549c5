//! What takes too long, or too much disk, for every run: `.ci/long` runs it, `cargo test --test long` too.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../it/support/mod.rs"]
#[expect(dead_code, reason = "the rest of it is for tests/it")]
mod support;

mod notification_queue;
mod standby;
