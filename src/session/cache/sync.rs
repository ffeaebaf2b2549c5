//! The synchronization types of `entries.rs` and `rounds.rs`. Their model test replaces them with loom's.

pub(super) use std::sync::Mutex;
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
