//! Accounts: users, passwords, emails, rate limits, and the rules for revoking sessions when an account
//! changes. Owns the tables `users`, `registrations`, `email_tokens`, `recovery_requests`,
//! `groups`, `group_members`, `queue_failures` and `throttles`. Must not depend on pages or HTTP requests.

pub mod deletion;
pub mod display_name;
pub mod email;
pub mod erasure;
pub mod export;
pub mod groups;
pub mod import;
pub mod password;
pub mod purge;
pub mod queue;
pub mod rate_limit;
pub mod revoke_all;
pub mod session_rules;
pub mod sign_up;
pub mod users;

pub use crate::role::Role;
pub use password::verify::{Authentication, authenticate};
pub use users::User;
