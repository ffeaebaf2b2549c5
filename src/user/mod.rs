//! Who somebody is: the record, the password, and what changing it ends. Owns the table `users`.
//! Knows no page and no request.

pub mod authenticate;
pub mod display_name;
pub mod email_address;
mod foreign_hash;
pub mod hasher;
pub mod import;
pub mod password;
mod phc;
pub mod record;
pub mod set_password;
pub mod throttle;

pub use authenticate::{Authentication, authenticate};
pub use record::{Role, User};
