//! Lighthouse gives 100 for performance, accessibility and best practices on every page, and for SEO on those
//! that search engines should find. `.ci/long` installs it. It takes some seconds a page, and its load times need an
//! idle machine.

use std::process::Command;

use crate::support::mail::db_mail;
use crate::support::{registered, site};

/// Pages that are checked for search engines: those with `connect-src`, see `src/web/headers.rs`.
const PUBLIC: [&str; 3] = ["/", "/login", "/register"];
/// Other pages, requested with a session and the cookie of a mailed link.
const PRIVATE: [&str; 10] = [
    "/forgot-password",
    "/account",
    "/account/profile",
    "/account/email",
    "/account/sessions",
    "/account/password",
    "/account/activity",
    "/account/export",
    "/account/delete",
    "/reset-password",
];

#[test]
fn lighthouse_gives_every_page_100_in_every_category() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    for _ in 0..3 {
        server.browser().login("ada@example.com", crate::support::PASSWORD);
    }
    ada.post("/forgot-password", &[("email", "ada@example.com")]);
    let token = db_mail(&database, "reset_password", 1).text("token").to_owned();
    assert_eq!(ada.open(&format!("/reset-password/{token}")).status, 200);
    let cookies: Vec<String> =
        ada.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let status = Command::new("node")
        .arg("tests/lighthouse/check.mjs")
        .args([format!("http://{}", server.addr), cookies.join("; ")])
        .args(PRIVATE)
        .arg("--")
        .args(PUBLIC)
        .status()
        .expect("node is installed");
    assert!(status.success(), "a score below 100, or Lighthouse is not installed: see above");
}
