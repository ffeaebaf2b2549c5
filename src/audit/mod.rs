//! The audit log: rows of `audit_events` and `ended_sessions`, which only this folder writes. Must never
//! contain a secret, an email, or other user input.

mod event_kind;
mod origin;
mod read;
mod retention;
mod write;

pub(crate) use event_kind::stored_as_text;
pub use event_kind::{EventKind, RefusalReason};
pub use origin::{Actor, Origin};
pub use read::{
    Filter, SignIn, StoredEvent, find_previous_sign_in, last_sign_in, list, list_for_user,
};
pub use retention::{
    anonymize, anonymize_late, anonymize_without_user, purge, purge_ended_sessions,
};
pub(crate) use write::delete_sessions;
pub use write::{EndedSessions, Event, record, record_for_users, record_in_own_transaction};
