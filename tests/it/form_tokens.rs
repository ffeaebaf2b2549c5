//! The hidden field of forms: the account of a form, browsers without cookies, and what the sign-in form says
//! about an ended session.

use crate::command_line::run;
use crate::costs::statements;
use crate::late_forms::Site;
use crate::late_forms::forms::forms;
use crate::support::breakpoint::until;
use crate::support::browser::encode;
use crate::support::webdriver::Driver;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

/// The value of the hidden field `name` in `page`.
pub fn hidden(page: &str, name: &str) -> String {
    let before = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.split_once(&before).unwrap_or_else(|| panic!("no field {name}: {page}"));
    rest.split('"').next().unwrap().to_owned()
}

/// The token in the forms of `page`.
pub fn token(page: &str) -> String {
    hidden(page, "form_token")
}

/// The fields of a form with its token.
pub fn with_token<'f>(fields: &[(&'f str, &'f str)], token: &'f str) -> Vec<(&'f str, &'f str)> {
    [fields, &[("form_token", token)]].concat()
}

#[test]
fn every_form_of_every_template_has_the_hidden_fields() {
    let mut folders = vec![std::path::PathBuf::from("templates")];
    let mut forms = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for (at, _) in
                text.match_indices("<form ").filter(|(at, _)| !text[..*at].ends_with("{{ "))
            {
                let form = text[at..].split("</form>").next().unwrap();
                assert!(form.contains("method=\"post\""), "{}: {form}", path.display());
                assert!(form.contains("<form.hidden "), "{}: {form}", path.display());
                forms += 1;
            }
        }
    }
    assert!(forms > 20, "{forms}");
}

#[test]
fn no_form_of_one_account_acts_for_another_one() {
    let site = Site::start();
    let account = site.account(0);
    let token = token(&account.here.clone().get("/account/profile").body);
    let mut bob = registered(&site.server, "bob@example.com");
    site.db_until_idle();
    let before = site.database.db_rows();
    let mut failures = Vec::new();
    for form in forms().iter().filter(|form| form.content_type.ends_with("urlencoded")) {
        let (path, fields) = (form.send)(&account);
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if form.route == "/logout" {
            continue;
        }
        let response = bob.post(&path, &with_token(&fields, &token));
        let says_who = response.body.contains("You are signed in as bob@example.com");
        if response.status != 409 || !says_who || !response.body.contains("href=\"/account\"") {
            failures.push(format!("{}, {}: {}", form.route, form.what, response.status));
        }
        if site.database.db_rows() != before {
            failures.push(format!("{}, {}: wrote", form.route, form.what));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // Without the field, and with one that cannot be opened, Bob's session decides.
    let name = ("display_name", "Robert");
    assert_eq!(bob.post("/account/profile", &[name]).status, 303);
    assert_eq!(bob.post("/account/profile", &[name, ("form_token", "AAAA")]).status, 303);
    // Signing out always works.
    let response = bob.post("/logout", &[("form_token", &token)]);
    assert_eq!((response.status, response.location()), (303, "/"));
    assert!(!bob.is_signed_in());
}

#[test]
fn a_form_that_is_resumed_after_reauthentication_keeps_its_account() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut bob = registered(&server, "bob@example.com");
    database.db_execute("UPDATE sessions SET authenticated_at = now() - interval '1 hour'");
    let page = ada.get("/account/delete").body;
    let confirm = ada.post("/account/delete", &[("form_token", &token(&page))]);
    assert_eq!(confirm.status, 403);
    let (_, rest) = confirm.body.split_once("name=\"original_request\" value=\"").unwrap();
    let (original, token) = (rest.split('"').next().unwrap(), token(&confirm.body));
    let fields = [
        ("form_token", token.as_str()),
        ("password", PASSWORD),
        ("next", "/account/delete"),
        ("original_request", original),
    ];
    assert_eq!(bob.post("/account/confirm", &fields).status, 409);
    let response = ada.post("/account/confirm", &fields);
    assert_eq!((response.status, response.location()), (307, "/account/delete"));
    assert_eq!(bob.post("/account/delete", &fields).status, 409);
    assert_eq!(ada.post("/account/delete", &fields).status, 303);
    let due = "SELECT email FROM users WHERE deletion_due_at IS NOT NULL";
    assert_eq!(database.db_texts(due), ["ada@example.com"]);
}

#[test]
fn two_tabs_with_two_accounts_do_not_mix_and_reload_and_back_are_safe() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    registered(&server, "bob@example.com");
    let driver = Driver::start();
    let window = driver.window(&server.addr, 1200);
    let sign_in = |email: &str| {
        window.open("/login");
        window.fill("email", email);
        window.fill("password", PASSWORD);
        window.click("form[action='/login'] button");
        window.wait_for_path("/account");
    };
    sign_in("ada@example.com");
    window.open("/account/profile");
    window.fill("display_name", "Countess");
    let tab = window.new_tab();
    window.click("form[action='/logout'] button");
    window.wait_for_path("/");
    sign_in("bob@example.com");
    window.switch_to(&tab);
    window.click("form[action='/account/profile'] button");
    assert!(window.text("h1").contains("You are signed in as bob@example.com"));
    window.click("main a[href='/account']");
    assert!(window.text("h1").contains("BOB"));
    assert_eq!(database.db_count("SELECT count(*) FROM users WHERE display_name = 'Countess'"), 0);
    // Back, forward and reload after a form repeat nothing.
    window.open("/account/profile");
    window.fill("display_name", "Robert");
    window.click("form[action='/account/profile'] button");
    assert!(window.text("[role=status]").contains("Your name is now Robert."));
    let events = "SELECT count(*) FROM users WHERE display_name = 'Robert'";
    window.go("back");
    window.go("forward");
    window.go("refresh");
    window.wait_for_path("/account/profile");
    assert_eq!(database.db_count(events), 1);
}

#[test]
fn a_browser_that_blocks_cookies_is_told_so_and_gets_no_session() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    database.db_execute("DELETE FROM sessions");
    let rows = || {
        database.db_count(
            "SELECT (SELECT count(*) FROM users) * 1000 + (SELECT count(*) FROM sessions)",
        )
    };
    let sign_in =
        [("email", "ada@example.com"), ("password", PASSWORD), ("next", "/account/email")];
    let sign_up = [("email", "bob@example.com"), ("display_name", "Bob"), ("password", PASSWORD)];
    for (path, fields, again) in
        [("/login", sign_in, "/login?next=%2Faccount%2Femail"), ("/register", sign_up, "/register")]
    {
        let before = rows();
        let form = server.browser().get(path);
        let response = server.browser().post(path, &with_token(&fields, &token(&form.body)));
        assert_eq!(response.status, 403, "{path}");
        assert!(response.body.contains("Cookies are blocked"), "{}", response.body);
        assert!(response.body.contains(&format!("href=\"{again}\"")), "{}", response.body);
        assert_eq!(rows(), before);
        // A cookie that is not ours shows nothing.
        let mut themed = server.browser();
        themed.cookies.insert("theme".to_owned(), "dark".to_owned());
        let response = themed.post(path, &with_token(&fields, &token(&form.body)));
        assert_eq!((response.status, rows()), (403, before), "{path}");
        // With its cookie, the same form works; without a token, a script needs no cookie.
        let mut browser = server.browser();
        let form = browser.get(path);
        let response = browser.post(path, &with_token(&fields, &token(&form.body)));
        assert_eq!(response.status, 303, "{path}: {}", response.body);
    }
    assert_eq!(server.browser().login("ada@example.com", PASSWORD).status, 303);

    let driver = Driver::start();
    let window = driver.window_without_cookies(&server.addr);
    let before = rows();
    window.open("/login?next=/account/email");
    window.fill("email", "ada@example.com");
    window.fill("password", PASSWORD);
    window.click("form[action='/login'] button");
    until(|| window.title() == "Cookies are blocked · Frontdesk");
    window.click("main a");
    window.wait_for_path("/login?next=%2Faccount%2Femail");
    assert_eq!(rows(), before);
}

/// A sentence for each cause, and the page without one.
#[test]
fn the_sign_in_form_says_why_a_session_ended_to_the_browser_that_had_it() {
    let (server, database) = site();
    let mut owner = registered(&server, "ada@example.com");
    let device = |server: &Server| {
        let mut browser = server.browser();
        assert_eq!(browser.login("ada@example.com", PASSWORD).status, 303);
        browser
    };
    let says = |browser: &Browser, sentence: &str| {
        let mut browser = browser.clone();
        assert_eq!(browser.get("/account/email").location(), "/login?next=%2Faccount%2Femail");
        let body = browser.get("/login?next=%2Faccount%2Femail").body;
        assert!(body.contains(sentence), "{sentence}: {body}");
    };
    let quiet = |browser: &Browser| {
        let body = browser.clone().get("/login").body;
        assert!(!body.contains("signed out") && !body.contains("has ended"), "{body}");
    };
    let lookups = || statements(&database, "%FROM ended_sessions WHERE token_digest%");
    let revoked = device(&server);
    assert_eq!(owner.post("/account/sessions/revoke-others", &[]).status, 303);
    let before = lookups();
    says(&revoked, "signed out from another device");
    assert_eq!(lookups() - before, 1, "one statement");
    let outdated = device(&server);
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(owner.post("/account/password", &fields).status, 303);
    says(&outdated, "because your password was changed");
    says(&revoked, "signed out from another device");
    let expired = owner.clone();
    database.db_execute("UPDATE sessions SET expires_at = now() - interval '1 second'");
    says(&expired, "for example because it expired");
    // Neither a disabled nor a deleted account is told from an expired session.
    let mut bob = registered(&server, "bob@example.com");
    let disabled = bob.clone();
    assert_eq!(run(&database, &["user", "disable", "bob@example.com"], "").code, 0);
    says(&disabled, "for example because it expired");
    assert_eq!(run(&database, &["user", "enable", "bob@example.com"], "").code, 0);
    assert_eq!(bob.login("bob@example.com", PASSWORD).status, 303);
    let deleted = bob.clone();
    assert_eq!(run(&database, &["user", "delete", "bob@example.com", "--yes"], "").code, 0);
    says(&deleted, "for example because it expired");
    // Others learn nothing, without a query: no cookie, a forged one, one of another site, and after a sign-out.
    let before = lookups();
    quiet(&server.browser());
    let other = registered(
        &Server::start(&Database::new(), &[("FRONTDESK_SECRET_KEYS", OTHER_KEY)]),
        "eve@example.com",
    );
    for value in ["A".repeat(120), other.session().unwrap().to_owned()] {
        let mut stranger = server.browser();
        stranger.cookies.insert("session".to_owned(), value);
        quiet(&stranger);
    }
    let mut leaving = registered(&server, "cy@example.com");
    assert_eq!(leaving.post("/logout", &[]).status, 303);
    leaving.get("/");
    quiet(&leaving);
    assert_eq!(lookups(), before);
}

const OTHER_KEY: &str = "Zp4Jq8Wm1Xc6Vb3Nn7Kt2Lr9Hs5Gf0DyAeUiOoPlQaSwEdRf";

#[test]
fn a_token_of_a_removed_key_counts_as_none_and_one_of_a_previous_key_counts() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let page = ada.get("/account/profile").body;
    let token = token(&page);
    let keys = format!("{OTHER_KEY},{}", crate::support::server::KEY);
    let rotated = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", &keys)]);
    let removed = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", OTHER_KEY)]);
    for (server, status) in [(&rotated, 409), (&removed, 303)] {
        let mut bob = server.browser();
        bob.register(&format!("bob{status}@example.com"));
        let fields = [("display_name", "Robert"), ("form_token", &token)];
        assert_eq!(bob.post("/account/profile", &fields).status, status);
    }
    assert!(encode(&[("form_token", &token)]).len() < 200, "the field is short");
}
