//! Authenticated encryption of stored secrets and cookies, and random secrets with their digests.

pub mod seal;
pub mod secret;
