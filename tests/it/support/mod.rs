//! What tests need: a PostgreSQL, databases, servers, browsers.

pub mod account_states;
pub mod breakpoint;
pub mod browser;
pub mod database;
pub mod folder;
pub mod history;
pub mod lines;
pub mod mail;
pub mod port;
pub mod proxy;
pub mod server;
pub mod small_disk;
pub mod smtp;
pub mod standby;
pub mod webdriver;

pub use browser::{Browser, Response, raw};
pub use database::Database;
pub use server::Server;

/// A password that passes every rule.
pub const PASSWORD: &str = "quiet corner with a lamp";
/// Another one.
pub const OTHER_PASSWORD: &str = "seven umbrellas in the hall";

/// A server on a database of its own.
pub fn site() -> (Server, Database) {
    let database = Database::new();
    let server = Server::start(&database, &[]);
    (server, database)
}

/// A server where addresses have to be shown first, on a database of its own.
pub fn verified_site() -> (Server, Database) {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_REGISTRATION", "verified")]);
    (server, database)
}

/// A browser in which `email` has just registered.
pub fn registered(server: &Server, email: &str) -> Browser {
    let mut browser = server.browser();
    browser.register(email);
    browser
}
