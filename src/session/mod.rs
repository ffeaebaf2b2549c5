//! Sessions: an [`actix_session::storage::SessionStore`] on PostgreSQL, and the other operations on its rows.
//! Owns the table `sessions`. Depends on no page and no request.
//!
//! * The cookie contains a random secret; the primary key of the row is its SHA-256. The database contains no
//!   credential.
//! * An ended session cannot be restored: the only statement that inserts into `sessions` creates a new
//!   session.
//! * Each session has an idle and an absolute timeout on its row, by the database's clock ([`Timeouts`]).
//! * Reading a session writes nothing. [`last_seen`] writes the last activity at most once a minute.
//! * The changes of a request are written key by key: two concurrent requests that change different keys do
//!   not overwrite each other's changes.
//! * [`purge`] deletes expired rows.
//! * A transaction on behalf of a session checks under a lock that the session still exists: [`Requester`].
//! * Connections that outlive their request end with the session: [`live`].
//! * Sessions are served from the cache while the notification connection works, and the response to a
//!   revocation is sent only when no server accepts the session ([`Engine`], `cache/`).
//!
//! At a sign-in, call `Session::clear` and then `Session::renew`, so that the new session starts empty.
//! `renew` alone is refused with an error: it would restore a session that another request had ended, with a
//! new absolute timeout.
//!
//! Another actix-web application can use the store alone. A complete example (`examples/minimal.rs`):
//!
//! ```no_run
#![doc = include_str!("../../examples/minimal.rs")]
//! ```

pub mod cache;
mod create;
mod ended;
mod engine;
pub mod last_seen;
pub mod list;
pub mod live;
pub mod notice;
pub mod purge;
mod requester;
pub mod revoke;
mod sign_in_notice;
pub mod state;
mod state_write;
pub mod stats;
mod store;
mod timeouts;
pub mod user_agent;

pub use cache::barrier::await_invalidation;
pub use cache::leases::LEASE;
pub use create::{CreatedSession, ReplacedSession};
pub use engine::Engine;
pub use requester::{Lock, Requester, SessionEnded};
pub use state::{Account, NewSession, SessionInfo};
pub use store::PgSessionStore;
pub use timeouts::Timeouts;
