//! Who somebody is: the record, the password, and what changing it ends. Owns the table `users`.
//! Knows no page and no request.

pub mod authenticate;
pub mod deletion;
pub mod display_name;
pub mod email_address;
pub mod export;
pub mod hasher;
pub mod password;
mod phc;
pub mod purge;
pub mod record;
pub mod rules;
pub mod set_password;
pub mod throttle;

pub use authenticate::{Authentication, authenticate};
pub use record::{Role, User};
