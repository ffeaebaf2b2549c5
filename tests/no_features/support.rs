//! The helpers of tests/it that need no PostgreSQL of their own.

#[path = "../it/support/browser.rs"]
mod browser;
#[path = "../it/support/lines.rs"]
mod lines;
#[path = "../it/support/server.rs"]
pub mod server;

pub use browser::Browser;
pub use server::Server;

/// The password of [`super::FOREIGN_HASH`].
pub const PASSWORD: &str = "old corner with a lamp";

/// A database, as far as a server needs to know it.
pub struct Database {
    pub server_url: String,
}
