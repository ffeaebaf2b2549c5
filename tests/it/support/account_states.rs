//! Accounts in each state that responses must not distinguish, and two forms that anyone can submit for an
//! email.

use super::{Browser, Database, PASSWORD, Response, Server};

/// Each is an account `<state>@example.com`, except the first: that email has no account.
pub const ACCOUNT_STATES: [&str; 6] =
    ["unknown", "wrong", "disabled", "unverified", "no-password", "disabled-unverified"];

/// A server with one account in each state.
pub fn db_account_states() -> (Server, Database) {
    let database = Database::new();
    let open = Server::start(&database, &[]);
    for state in &ACCOUNT_STATES[1..] {
        open.browser().register(&format!("{state}@example.com"));
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
    let fields = [("email", email), ("display_name", "Someone"), ("password", PASSWORD)];
    browser.post("/register", &fields)
}

pub fn request_password_reset(browser: &mut Browser, email: &str) -> Response {
    browser.post("/forgot-password", &[("email", email)])
}
