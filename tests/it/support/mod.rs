//! Test support: a PostgreSQL, databases, servers, browsers.

pub mod account_states;
pub mod breakpoint;
pub mod browser;
pub mod database;
pub mod event_stream;
pub mod folder;
pub mod history;
pub mod lines;
pub mod mail;
pub mod port;
pub mod proxy;
pub mod routes;
pub mod rows;
pub mod runbook;
pub mod server;
pub mod small_disk;
pub mod smtp;
pub mod standby;
pub mod starttls;
pub mod web_socket;
pub mod webdriver;
pub mod website;

pub use browser::{Browser, Response, raw};
pub use database::Database;
pub use server::Server;

/// A password that the policy accepts.
pub const PASSWORD: &str = "quiet corner with a lamp";
/// Another password that the policy accepts.
pub const OTHER_PASSWORD: &str = "seven umbrellas in the hall";

/// A server with a new database.
pub fn site() -> (Server, Database) {
    let database = Database::new();
    let server = Server::start(&database, &[]);
    (server, database)
}

/// A server with verified registration and a new database.
pub fn verified_site() -> (Server, Database) {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_REGISTRATION", "verified")]);
    (server, database)
}

/// A browser signed in to a new account with `email`.
pub fn registered(server: &Server, email: &str) -> Browser {
    let mut browser = server.browser();
    browser.register(email);
    browser
}
