//! Pages of a signed-in user's own account: view it, change it, delete it.

pub mod activity;
pub mod confirm;
pub mod delete;
pub mod email;
mod event_words;
pub mod export;
pub mod overview;
pub mod password;
pub mod profile;
pub mod sessions;
