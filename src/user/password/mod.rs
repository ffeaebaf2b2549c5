//! Passwords: which are accepted, how they are hashed, verified and changed.

mod bounds;
mod breached;
pub mod change;
pub mod context;
mod foreign_hash;
pub mod hasher;
mod phc;
pub mod policy;
pub mod require_new;
mod spelling;
pub mod verify;
