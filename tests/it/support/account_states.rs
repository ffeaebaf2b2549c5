//! One account of each class that an answer must not tell apart, and two questions that a stranger can ask about one.

use super::{Browser, Database, PASSWORD, Response, Server};

/// Each is an account `<class>@example.com`, but the first.
pub const ACCOUNT_STATES: [&str; 6] =
    ["unknown", "wrong", "disabled", "unverified", "no-password", "disabled-unverified"];

/// A server with one account of each class.
pub fn db_account_states() -> (Server, Database) {
    let database = Database::new();
    let open = Server::start(&database, &[]);
    for class in &ACCOUNT_STATES[1..] {
        open.browser().register(&format!("{class}@example.com"));
    }
    drop(open);
    for sql in [
        "UPDATE users SET email_verified_at = now() WHERE email NOT LIKE '%unverified%'",
        "UPDATE users SET disabled_at = now() WHERE email LIKE 'disabled%'",
        "UPDATE users SET password_hash = NULL WHERE email LIKE 'no-password%'",
        "DELETE FROM mail_outbox",
    ] {
        database.db_execute(sql);
    }
    let server = Server::start(&database, &[("FRONTDESK_REGISTRATION", "verified")]);
    (server, database)
}

pub fn register(browser: &mut Browser, email: &str) -> Response {
    let fields = [("email", email), ("display_name", "Somebody"), ("password", PASSWORD)];
    browser.post("/register", &fields)
}

pub fn request_password_reset(browser: &mut Browser, email: &str) -> Response {
    browser.post("/forgot-password", &[("email", email)])
}
