//! Emails of accounts: mailed links and codes, verification, and change.

pub mod change;
pub mod code;
pub mod token;
pub mod undo_change;
pub mod verification;
