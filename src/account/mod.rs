//! Once you are signed in: what there is to see and to change about one's own account.

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
