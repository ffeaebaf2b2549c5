//! What any HTTP room needs. Knows no room, no table and no user.

pub mod ago;
pub mod assets;
pub mod client;
pub mod cookie_guard;
pub mod cross_site;
pub mod envelope;
pub mod error;
pub mod flash;
pub mod form;
pub mod headers;
pub mod page;
pub mod replay;
pub mod return_to;
