//! The account pages of a signed-in user.

use crate::support::{PASSWORD, registered, site};

#[test]
fn every_account_page_requires_a_sign_in() {
    let (server, _database) = site();
    for path in [
        "/account",
        "/account/profile",
        "/account/sessions",
        "/account/password",
        "/account/activity",
        "/account/confirm",
        "/account/export",
        "/account/delete",
    ] {
        let response = server.browser().get(path);
        assert_eq!(response.status, 303, "{path}");
        assert!(response.location().starts_with("/login?next="), "{path}");
    }
    for path in [
        "/account/profile",
        "/account/password",
        "/account/sessions/revoke-others",
        "/account/confirm",
        "/account/export",
        "/account/delete",
        "/account/delete/cancel",
    ] {
        let response = server.browser().post(path, &[]);
        assert_eq!((response.status, response.location()), (303, "/login"), "{path}");
    }
}

#[test]
fn the_overview_shows_the_account_and_its_previous_sign_in() {
    let (server, _database) = site();
    let mut browser = registered(&server, "ada@example.com");
    let first = browser.get("/account").body;
    assert!(first.contains("ada@example.com"));
    assert!(first.contains("No earlier sign-ins."));
    browser.post("/logout", &[]);
    browser.login("ada@example.com", PASSWORD);
    let second = browser.get("/account").body;
    assert!(second.contains("Firefox on Linux&nbsp;· 127.0.0.1"), "{second}");
}

#[test]
fn a_new_name_is_escaped_and_confirmed_once() {
    let (server, _database) = site();
    let mut browser = registered(&server, "ada@example.com");
    let name = "<b>Ada</b> {{7*7}} & \"Co\"";
    let response = browser.post("/account/profile", &[("display_name", name)]);
    assert_eq!((response.status, response.location()), (303, "/account/profile"));
    let page = browser.get("/account/profile").body;
    assert!(page.contains("Your name is now <bdi>&lt;b&gt;Ada"), "{page}");
    assert!(page.contains("&lt;b&gt;Ada") && !page.contains("<b>Ada") && !page.contains("49"));
    assert!(!browser.get("/account/profile").body.contains("Your name is now"));
    let long = "n".repeat(65);
    for (typed, error) in [(" ", "Enter your name."), (long.as_str(), "Use at most 64 characters")]
    {
        let response = browser.post("/account/profile", &[("display_name", typed)]);
        assert_eq!(response.status, 422);
        assert!(response.body.contains(error), "{error}");
    }
}

#[test]
fn extra_form_fields_do_not_change_the_role() {
    let (server, database) = site();
    let mut browser = server.browser();
    let extra = [("role", "admin"), ("is_admin", "true"), ("disabled_at", ""), ("id", "1")];
    let mut fields =
        vec![("email", "eve@example.com"), ("display_name", "Eve"), ("password", PASSWORD)];
    fields.extend(extra);
    assert_eq!(browser.post("/register", &fields).status, 303);
    let mut fields = vec![("display_name", "Eve")];
    fields.extend(extra);
    browser.post("/account/profile", &fields);
    assert_eq!(database.db_texts("SELECT role FROM users"), ["user"]);
}

#[test]
fn a_forged_notice_cookie_is_ignored() {
    let (server, _database) = site();
    let mut browser = server.browser();
    browser
        .cookies
        .insert("notice".to_owned(), r#"{"kind":"danger","text":"Call 555-0100"}"#.to_owned());
    assert!(!browser.get("/").body.contains("555-0100"));
}

#[test]
fn every_account_page_has_a_sign_out_button() {
    let (server, _database) = site();
    let mut browser = registered(&server, "ada@example.com");
    for path in
        ["/", "/account", "/account/profile", "/account/sessions", "/account/password", "/nowhere"]
    {
        assert!(browser.get(path).body.contains(r#"action="/logout""#), "{path}");
    }
}
