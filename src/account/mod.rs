//! Once you are signed in: what there is to see and to change about one's own account.

pub mod email;
pub mod overview;
pub mod password;
pub mod profile;
pub mod sessions;
