//! The token of a mailed link is moved out of the address when the link is opened.

use crate::email_undo::form_after;
use crate::support::browser::encode;
use crate::support::mail::{db_clear_rate_limits, db_mail};
use crate::support::webdriver::Driver;
use crate::support::{
    Browser, Database, OTHER_PASSWORD, PASSWORD, Response, Server, registered, site,
};

const NEW: &str = "a third password of hers";

fn reset_link(server: &Server, database: &Database, email: &str, count: usize) -> String {
    server.browser().post("/forgot-password", &[("email", email)]);
    db_clear_rate_limits(database);
    format!("/reset-password/{}", db_mail(database, "reset_password", count).text("token"))
}

/// The fields of the form on a page that has no visible field without a value.
fn hidden_fields(page: &Response) -> Vec<(String, String)> {
    let attribute = |input: &str, name: &str| {
        let value = input.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?;
        Some(value.to_owned())
    };
    let form = page.body.split("<main").nth(1).unwrap_or_default();
    let inputs = form.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap());
    let hidden = inputs.filter(|input| input.contains("type=\"hidden\""));
    hidden
        .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?)))
        .collect()
}

/// The sealed token in the form of a page.
fn sealed_link(page: &Response) -> String {
    let fields = hidden_fields(page);
    fields.into_iter().find(|(name, _)| name == "link").unwrap().1
}

/// Submits the form of the page at `path` as a browser does.
fn submit(browser: &mut Browser, path: &str, page: &Response, typed: &[(&str, &str)]) -> Response {
    let hidden = hidden_fields(page);
    let mut fields: Vec<(&str, &str)> =
        hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.extend_from_slice(typed);
    browser.post(path, &fields)
}

/// A mailed link of every kind, each with the address of its page.
fn every_link(server: &Server, database: &Database) -> Vec<(String, &'static str)> {
    let mut ada = registered(server, "ada@example.com");
    let verify = format!("/verify-email/{}", db_mail(database, "verify_email", 1).text("token"));
    assert_eq!(ada.post(&verify, &[]).status, 303);
    ada.post("/account/email", &[("email", "new@example.com")]);
    let code = db_mail(database, "change_email", 1).text("code").to_owned();
    assert_eq!(ada.post("/account/email/code", &[("change_code", &code)]).status, 303);
    let undo = db_mail(database, "email_changed", 1).text("undo_token").to_owned();
    ada.post("/account/email", &[("email", "third@example.com")]);
    let change = db_mail(database, "change_email", 2).text("token").to_owned();
    vec![
        (format!("/verify-email/{change}"), "/verify-email/link"),
        (reset_link(server, database, "new@example.com", 1), "/reset-password"),
        (format!("/undo-email-change/{undo}"), "/undo-email-change"),
    ]
}

#[test]
fn opening_a_link_moves_its_token_out_of_the_address_and_changes_nothing() {
    // Without a mail server, mail is written only for a site on this machine.
    let (local, database) = site();
    let links = every_link(&local, &database);
    let settings = [("FRONTDESK_PUBLIC_URL", "https://desk.example.com")];
    let server = Server::start(&database, &settings);
    let state = "SELECT (SELECT string_agg(t::text, '|' ORDER BY t::text) FROM email_tokens t)
                     || (SELECT string_agg(u::text, '|') FROM users u)
                     || (SELECT count(*) FROM audit_events) || (SELECT count(*) FROM sessions)";
    let before = database.db_texts(state);
    for (link, page_address) in &links {
        let token = link.rsplit('/').next().unwrap();
        let mut browser = server.browser();
        let opened = browser.get(link);
        assert_eq!((opened.status, opened.location()), (303, *page_address));
        assert_eq!(opened.header("cache-control"), Some("no-store"));
        assert_eq!(opened.header("referrer-policy"), Some("same-origin"));
        let cookies = opened.cookies();
        let cookie = cookies.iter().find(|cookie| cookie.starts_with("__Host-link=")).unwrap();
        for part in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=1800"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains(token) && !cookie.contains("Domain"));
        let page = browser.get(page_address);
        assert_eq!(page.status, 200);
        assert!(!page.body.contains(token), "neither in a link nor in a form");
        let again = browser.get(page_address);
        assert_ne!(sealed_link(&page), sealed_link(&again), "sealed differently each time");
    }
    assert_eq!(database.db_texts(state), before);
}

#[test]
fn a_form_acts_on_the_link_that_its_tab_has_opened() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    registered(&server, "bob@example.com");
    let ada = reset_link(&server, &database, "ada@example.com", 1);
    let bob = reset_link(&server, &database, "bob@example.com", 2);
    // Two tabs of one browser: the second link replaces the cookie.
    let mut browser = server.browser();
    let first_tab = browser.open(&ada);
    let second_tab = browser.open(&bob);
    assert!(first_tab.body.contains("ada@example.com") && second_tab.body.contains("bob@"));
    let refused = submit(&mut browser, "/reset-password", &first_tab, &[("new_password", "short")]);
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("ada@example.com") && !refused.body.contains("bob@"));
    let done = submit(&mut browser, "/reset-password", &refused, &[("new_password", NEW)]);
    assert_eq!((done.status, done.location()), (303, "/login"));
    assert!(!browser.cookies.contains_key("link"), "cleared after the link was used");
    assert_eq!(server.browser().login("ada@example.com", NEW).status, 303);
    assert_eq!(server.browser().login("bob@example.com", PASSWORD).status, 303);
    let fields = [("new_password", OTHER_PASSWORD)];
    assert_eq!(submit(&mut browser, "/reset-password", &second_tab, &fields).status, 303);
    assert_eq!(server.browser().login("bob@example.com", OTHER_PASSWORD).status, 303);
}

#[test]
fn the_cookie_of_a_link_is_of_no_use_for_another_page_or_altered() {
    for kind in 0..3 {
        // A site for each: the use of one link invalidates the others.
        let (server, database) = site();
        let (link, page_address) = every_link(&server, &database).swap_remove(kind);
        let mut browser = server.browser();
        let page = browser.open(&link);
        let sealed = browser.cookies["link"].clone();
        for other in ["/verify-email/link", "/reset-password", "/undo-email-change"] {
            db_clear_rate_limits(&database);
            if other != page_address {
                assert_eq!(browser.get(other).status, 410, "{link} at {other}");
                let fields = [("password", PASSWORD), ("new_password", NEW)];
                assert_eq!(submit(&mut browser, other, &page, &fields).status, 410, "{other}");
            }
        }
        let twice = [("link", sealed.as_str()), ("link", sealed.as_str()), ("new_password", NEW)];
        assert_eq!(browser.post(page_address, &twice).status, 410, "sent twice");
        for altered in [&sealed[1..], &sealed[..sealed.len() - 1], "", "x"] {
            let mut browser = server.browser();
            browser.cookies.insert("link".to_owned(), altered.to_owned());
            assert_eq!(browser.get(page_address).status, 410, "{altered:?}");
        }
        db_clear_rate_limits(&database);
    }
}

#[test]
fn without_the_cookie_the_page_says_how_to_continue() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let link = reset_link(&server, &database, "ada@example.com", 1);
    // The browser blocks cookies.
    let opened = server.browser().get(&link);
    let page = server.browser().get(opened.location());
    assert_eq!(page.status, 410);
    assert!(page.body.contains("Open the link again") && page.body.contains("blocks cookies"));
    assert_eq!(server.browser().open(&link).status, 200, "the link still works");
    // A form that a server of the previous version has rendered.
    assert_eq!(server.browser().post(&link, &[("new_password", NEW)]).status, 303);
    assert_eq!(server.browser().get(&link).status, 410);
}

#[test]
fn an_undo_leads_to_the_password_form_without_a_token_in_the_address() {
    let (server, database) = site();
    let undo = every_link(&server, &database).remove(2).0;
    let mut ada = server.browser();
    let page = ada.open(&undo);
    let undone = submit(&mut ada, "/undo-email-change", &page, &[]);
    assert_eq!((undone.status, undone.location()), (303, "/reset-password"));
    let form = ada.get("/reset-password");
    assert!(form.body.contains("Choose a new password"), "{}", form.body);
    let token = form_after(&undo).rsplit('/').next().unwrap().to_owned();
    assert!(!form.body.contains(&token));
    assert_eq!(submit(&mut ada, "/reset-password", &form, &[("new_password", NEW)]).status, 303);
    assert_eq!(server.browser().login("ada@example.com", NEW).status, 303);
}

#[test]
fn a_link_works_in_chromium_and_its_token_is_not_in_the_address() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let link = reset_link(&server, &database, "ada@example.com", 1);
    let driver = Driver::start();
    let window = driver.window(&server.addr, 1000);
    window.open(&link);
    window.wait_for_path("/reset-password");
    window.fill("new_password", NEW);
    window.click("main form button");
    window.wait_for_path("/login");
    assert_eq!(server.browser().login("ada@example.com", NEW).status, 303);
}

/// Browsers before 2023 (Safari before 16.4) send forms with `Origin` and without `Sec-Fetch-Site`. With the policy
/// `no-referrer` they would send `Origin: null`.
#[test]
fn mailed_links_work_in_browsers_without_sec_fetch_site() {
    const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
    const OWN: (&str, &str) = ("Origin", "http://127.0.0.1:8080");
    for kind in 0..3 {
        // A site for each: the use of one link invalidates the others.
        let (server, database) = site();
        let (link, page_address) = every_link(&server, &database).swap_remove(kind);
        let mut browser = server.browser();
        let page = browser.send("GET", &link, &[], "");
        assert_eq!(page.location(), page_address);
        let page = browser.send("GET", page_address, &[], "");
        let mut fields = hidden_fields(&page);
        fields.push(("new_password".to_owned(), NEW.to_owned()));
        fields.push(("password".to_owned(), PASSWORD.to_owned()));
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let body = encode(&fields);
        let refused = [
            &[FORM, ("Origin", "null")][..],
            &[FORM, ("Origin", "https://evil.example")],
            &[FORM, ("Sec-Fetch-Site", "cross-site"), OWN],
        ];
        for address in [page_address, link.as_str()] {
            for headers in refused {
                let answer = browser.send("POST", address, headers, &body);
                assert_eq!(answer.status, 403, "{address} {headers:?}");
                assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
            }
        }
        let done = browser.send("POST", page_address, &[FORM, OWN], &body);
        assert_eq!(done.status, 303, "{page_address}: {}", done.body);
        assert_eq!(done.header("referrer-policy"), Some("same-origin"));
    }
}
