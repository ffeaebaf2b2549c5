//! Passwords: which are accepted, how they are hashed, verified and changed.

mod bounds;
mod breached;
pub mod change;
pub mod context;
#[cfg(feature = "import")]
mod foreign_hash;
#[cfg(not(feature = "import"))]
#[path = "no_foreign_hash.rs"]
mod foreign_hash;
mod hash_format;
pub mod hasher;
mod phc;
pub mod policy;
pub mod require_new;
mod spelling;
pub mod verify;
