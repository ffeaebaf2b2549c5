//! Authenticated encryption of stored secrets and cookies, random secrets with their digests, and keyed digests.

pub mod keyed_hash;
pub mod seal;
pub mod secret;
