//! All pages. A handler parses the request, calls the domain and renders the response.

pub mod account;
pub mod dev_mailbox;
pub mod dev_templates;
pub mod health;
pub mod home;
pub mod sign_in;
pub mod well_known;
