//! The audit log: rows of `audit_events`, which only this folder writes. Must never contain a secret, an email, or
//! anything else that a client typed.

mod origin;
mod read;
mod retention;
mod write;

pub use origin::{Actor, Origin};
pub use read::{Entry, Filter, SignIn, find_previous_sign_in, list, list_for_user};
pub use retention::{anonymize, forget};
pub use write::{Event, Expiry, record, record_expired, record_many};
