//! Who somebody is: the record, the password, the address, and what changing them ends. Owns the tables `users`,
//! `registrations`, `email_tokens`, `recovery_requests` and `throttles`. Knows no page and no request.

pub mod answers;
pub mod authenticate;
pub mod code;
pub mod deletion;
pub mod display_name;
pub mod email_address;
pub mod email_change;
pub mod email_token;
pub mod export;
mod foreign_hash;
pub mod hasher;
pub mod import;
pub mod password;
mod phc;
pub mod purge;
pub mod record;
pub mod recovery;
pub mod registration;
pub mod rules;
pub mod set_password;
pub mod throttle;
pub mod undo_email_change;
pub mod verify_email;

pub use authenticate::{Authentication, authenticate};
pub use record::{Role, User};
