//! Being signed in: an [`actix_session::storage::SessionStore`] on PostgreSQL, and what else can be done
//! with its rows. Owns the table `sessions`. Knows no page and no request.
//!
//! * The cookie carries a random secret; the row is keyed by its SHA-256. Nothing in the database
//!   signs anybody in.
//! * A session that ended stays ended: no statement here inserts but the one that begins a session.
//! * Each session has an idle and an absolute timeout, on its row, by the clock of the database ([`Timeouts`]).
//! * Reading writes nothing; "last seen" is written by [`touch`], at most once a minute.
//! * What a request changed is written key by key: two requests at once do not undo each other.
//! * Expired rows are deleted by [`purge`].
//! * A transaction on behalf of a session checks under a lock that the session still exists: [`Requester`].
//! * A signed-in page is served from memory while the feed is healthy, and the end of a session is answered
//!   only when no server accepts it ([`Engine`], `cache.rs`, `feed.rs`, `barrier.rs`).
//!
//! At a sign-in, call `Session::clear` and then `Session::renew`: a new session begins empty. `renew` alone is refused
//! with an error, for it would bring back what another request had ended, with its absolute timeout begun anew.
//!
//! Usable alone. A whole application (`examples/minimal.rs`):
//!
//! ```no_run
#![doc = include_str!("../../examples/minimal.rs")]
//! ```

pub mod cache;
mod create;
mod engine;
pub mod last_seen;
pub mod list;
mod new_device;
pub mod notice;
pub mod purge;
mod requester;
pub mod revoke;
pub mod state;
mod state_write;
pub mod stats;
mod store;
mod timeouts;
pub mod user_agent;

pub use cache::barrier::{LEASE, await_invalidation};
pub use engine::Engine;
pub use requester::{Lock, Requester, SessionEnded};
pub use state::{Account, NewSession, SessionInfo};
pub use store::{Created, PgSessionStore, Replaced};
pub use timeouts::Timeouts;
