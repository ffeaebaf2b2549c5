//! Every page a browser asks for. A page parses the request, calls the domain and renders the answer.

pub mod account;
pub mod dev_mailbox;
pub mod health;
pub mod home;
pub mod sign_in;
