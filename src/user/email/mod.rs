//! Emails: their syntax, the links and codes that prove who reads them, verification and change.

pub mod address;
pub mod change;
pub mod code;
pub mod token;
pub mod undo_change;
pub mod verification;
