//! Being signed in: an [`actix_session::storage::SessionStore`] on PostgreSQL, and what else can be done
//! with its rows. Owns the table `sessions`. Knows no page and no request.
//!
//! * The cookie carries a random secret; the row is keyed by its SHA-256. Nothing in the database
//!   signs anybody in.
//! * A session that ended stays ended: no statement here inserts but the one that begins a session.
//! * Two windows a session, on its row, by the database's clock ([`Windows`]).
//! * Reading writes nothing; "last seen" is written by [`touch`], at most once a minute.
//! * Expired rows are deleted by [`purge`].

mod barrier;
mod cache;
pub mod device;
pub mod feed;
pub mod list;
mod lookup;
pub mod moment;
pub mod purge;
pub mod revoke;
pub mod state;
pub mod stats;
mod store;
pub mod touch;
mod windows;

/// What `cache.rs` is made of; its model test puts loom's in the place of these.
mod sync {
    pub(super) use std::sync::Mutex;
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

pub use barrier::settle;
pub use state::{Birth, Current, Person};
pub use store::PgSessionStore;
pub use windows::Windows;
