//! Account registration and recovery. Results are sent by email, so that pages do not reveal whether an email
//! has an account (user enumeration).

pub mod invitation;
pub mod pending_mail;
pub mod recovery;
pub mod registration;
