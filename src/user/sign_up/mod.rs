//! Creating an account and recovering one. Both are answered by email, so that pages do not reveal whether
//! an email has an account.

pub mod pending_mail;
pub mod recovery;
pub mod registration;
