//! Every status and every cookie that the site knows, over https.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use actix_web::http::StatusCode;

use super::assert_fixed_headers;
use super::site::start_https;
use crate::support::breakpoint::until;
use crate::support::mail::{db_clear_rate_limits, db_mail};
use crate::support::proxy::Proxy;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Response, Server};

/// The responses, each with the reason why it was requested.
struct Tour {
    database: Database,
    server: Server,
    seen: Vec<(String, Response)>,
}

/// Why the response with status 500 was requested.
const SURPRISE: &str = "a surprise of the database";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

impl Tour {
    fn see(&mut self, what: &str, response: Response) -> Response {
        self.seen.push((what.to_owned(), response.clone()));
        response
    }

    /// Asserts the status, too.
    fn expect(&mut self, status: u16, what: &str, response: Response) -> Response {
        assert_eq!(response.status, status, "{what}: {}", response.body);
        self.see(what, response)
    }

    fn token(&self, kind: &str, count: usize, name: &str) -> String {
        db_mail(&self.database, kind, count).text(name).to_owned()
    }

    /// A browser signed in to a new account, whose email is verified by code.
    fn register(&mut self, email: &str, count: usize) -> Browser {
        db_clear_rate_limits(&self.database);
        let mut browser = self.server.browser();
        let fields = [("email", email), ("display_name", "Someone"), ("password", PASSWORD)];
        let response = browser.post("/register", &fields);
        self.expect(303, "a registration", response);
        let code = self.token("verify_registration", count, "code");
        let response = browser.post("/verify-email", &[("code", &code)]);
        self.expect(303, "the code of a registration", response);
        let response = browser.get("/account");
        self.expect(200, "the page after it, with its notice", response);
        browser
    }

    /// Changes the email by code. Returns the path that undoes it.
    fn change_email(&mut self, browser: &mut Browser, email: &str, count: usize) -> String {
        let response = browser.post("/account/email", &[("email", email)]);
        self.expect(303, "a change of email", response);
        let code = self.token("change_email", count, "code");
        let response = browser.post("/account/email/code", &[("change_code", &code)]);
        self.expect(303, "its code", response);
        format!("/undo-email-change/{}", self.token("email_changed", count, "undo_token"))
    }

    /// Everything that sets or removes a cookie.
    fn through_an_account(&mut self) {
        let response = self.server.browser().get("/login");
        self.expect(200, "the sign-in form", response);
        let known = [("If-None-Match", "*")];
        let response = self.server.browser().send("GET", "/robots.txt", &known, "");
        self.expect(304, "a file that the browser has", response);
        let mut ada = self.register("ada@example.com", 1);
        let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("remember_me", "on")];
        let response = self.server.browser().post("/login", &fields);
        self.expect(303, "a remembered sign-in", response);
        let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
        let response = ada.post("/account/password", &fields);
        self.expect(303, "a new password", response);
        let response = ada.post("/account/confirm", &[("password", OTHER_PASSWORD)]);
        self.expect(303, "a re-authentication", response);
        let undo = self.change_email(&mut ada, "ada@new.example.com", 1);
        // Another account takes the former email, and gives it back.
        let mut bob = self.register("bob@example.com", 2);
        self.change_email(&mut bob, "ada@example.com", 2);
        let response = ada.get(&undo);
        self.see("the link that undoes a change", response);
        let response = ada.post(&undo, &[]);
        self.expect(409, "the undo of a change to an email in use", response);
        self.database.db_execute("DELETE FROM users WHERE email = 'ada@example.com'");
        db_clear_rate_limits(&self.database);
        let response = ada.post(&undo, &[]);
        let reset = self.expect(303, "the undo of a change", response).location().to_owned();
        let response = ada.post(&reset, &[("new_password", PASSWORD)]);
        self.expect(303, "a reset password", response);
        let response = ada.login("ada@example.com", PASSWORD);
        self.expect(303, "a sign-in", response);
        let response = ada.post("/logout", &[]);
        self.expect(303, "a sign-out", response);
    }

    /// The statuses below 500.
    fn through_refusals(&mut self) {
        let mut ada = self.server.browser();
        let response = ada.login("ada@example.com", PASSWORD);
        self.expect(303, "a sign-in", response);
        let response = ada.post("/account/delete", &[("original_request", "not sealed")]);
        self.expect(400, "a sealed form that is none", response);
        let response = ada.send("POST", "/logout", &[("Sec-Fetch-Site", "cross-site"), FORM], "");
        self.expect(403, "a cross-site form", response);
        let response = ada.get("/account/nowhere");
        self.expect(404, "no such page", response);
        let response = ada.get("/logout");
        self.expect(405, "another method", response);
        let response = ada.send_partial("/account/profile", FORM.1, "display_name=Ada").wait();
        self.expect(408, "a body that does not arrive", response);
        let response = ada.get(&format!("/reset-password/{}", "A".repeat(43)));
        self.expect(410, "an unknown link", response);
        let large = format!("display_name={}", "a".repeat(64 * 1024));
        let response = ada.send("POST", "/account/profile", &[FORM], &large);
        self.expect(413, "a large body", response);
        let response = ada.send("POST", "/account/profile", &[("Content-Type", "text/plain")], "x");
        self.expect(415, "another content type", response);
        let response = ada.post("/account/profile", &[("display_name", "")]);
        self.expect(422, "an empty name", response);
        let mut guessing = self.server.browser();
        let mut guess = || guessing.login("eve@example.com", OTHER_PASSWORD);
        let response = (0..20).map(|_| guess()).find(|response| response.status == 429);
        self.expect(429, "the limit of sign-ins", response.expect("the limit is below 20"));
        let sql = "UPDATE sessions SET authenticated_at = now() - interval '1 hour'";
        self.database.db_execute(sql);
        let response = ada.post("/account/delete", &[]);
        let page = self.expect(403, "a form that asks for the password", response).body;
        let (_, sealed) = page.split_once("name=\"original_request\" value=\"").expect("the form");
        let sealed = sealed.split('"').next().expect("a value");
        let fields =
            [("password", PASSWORD), ("next", "/account/delete"), ("original_request", sealed)];
        let response = ada.post("/account/confirm", &fields);
        self.expect(307, "the password, and the form again", response);
        let response = ada.post("/account/delete", &[]);
        self.expect(303, "the deletion of the account", response);
    }

    /// 500 and 503.
    fn through_failures(&mut self, proxy: &Proxy) {
        self.database.db_execute(
            "CREATE FUNCTION surprise() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN RAISE EXCEPTION ''canary in the error of the database''; END'",
        );
        self.database.db_execute(
            "CREATE TRIGGER surprise BEFORE INSERT ON recovery_requests
             FOR EACH ROW EXECUTE FUNCTION surprise()",
        );
        let forgot = |tour: &Self| {
            db_clear_rate_limits(&tour.database);
            tour.server.browser().post("/forgot-password", &[("email", "bob@example.com")])
        };
        let response = forgot(self);
        self.expect(500, SURPRISE, response);
        until(|| self.server.log().contains("canary in the error"));
        proxy.connect_to("/nothing/listens/here".into());
        proxy.reset();
        let mut ada = self.server.browser();
        ada.cookies.insert("__Host-session".to_owned(), "A".repeat(120));
        let response = ada.post("/login", &[("email", "ada@example.com"), ("password", PASSWORD)]);
        self.expect(503, "a form while the database is away", response);
        let response = ada.get("/readyz");
        self.expect(503, "the readiness while the database is away", response);
    }
}

fn tour() -> &'static [(String, Response)] {
    static SEEN: OnceLock<Vec<(String, Response)>> = OnceLock::new();
    SEEN.get_or_init(|| {
        let database = Database::new();
        let proxy = Proxy::start(database.socket());
        let url = database.url_through(&proxy);
        let server = start_https(&database, &[("DATABASE_URL", &url)]);
        let mut tour = Tour { database, server, seen: Vec::new() };
        tour.through_an_account();
        tour.through_refusals();
        tour.through_failures(&proxy);
        tour.seen
    })
}

/// The text after each `start` in the sources of pages and middleware, as long as `is_part` holds.
fn in_sources(start: &str, is_part: impl Fn(char) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<std::path::PathBuf> =
        ["src/web", "src/auth", "src/pages", "src/server"].map(Into::into).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source");
            for rest in text.split(start).skip(1) {
                found.insert(rest.split(|letter| !is_part(letter)).next().unwrap_or("").to_owned());
            }
        }
    }
    found
}

/// The statuses that the sources name, as numbers.
fn statuses_in_sources() -> BTreeSet<u16> {
    let letters = |text: &str| text.replace([' ', '_'], "").to_lowercase();
    let known: BTreeMap<String, u16> = (100..600)
        .filter_map(|code| {
            let reason = StatusCode::from_u16(code).ok()?.canonical_reason()?;
            Some((letters(reason), code))
        })
        .collect();
    let is_part = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    let mut names = in_sources("StatusCode::", is_part);
    names.extend(in_sources("HttpResponse::", is_part));
    names.iter().filter_map(|name| known.get(&letters(name)).copied()).collect()
}

#[test]
fn every_status_that_exists_has_the_fixed_headers() {
    let mut seen = BTreeSet::new();
    for (what, response) in tour() {
        assert_fixed_headers(response, true, what);
        seen.insert(response.status);
    }
    let exist = statuses_in_sources();
    assert!(exist.len() > 12, "{exist:?}");
    // Only routes of a site that is built on the crate answer 401: see `website.rs`.
    seen.insert(401);
    // Only `/` with FRONTDESK_HOME_URL answers 302: see `own_look.rs`.
    seen.insert(302);
    // Only a WebSocket of such a site: see `live.rs`.
    seen.insert(101);
    let unseen: Vec<&u16> = exist.difference(&seen).collect();
    assert!(unseen.is_empty(), "add a request that is answered with {unseen:?}");
}

#[test]
fn every_error_is_a_page_with_its_request_id_and_may_not_be_stored() {
    for (what, response) in tour().iter().filter(|(_, response)| response.status >= 400) {
        assert_eq!(response.header("cache-control"), Some("no-store"), "{what}");
        let is_page = response.header("content-type").is_some_and(|kind| kind.contains("html"));
        if is_page {
            assert!(response.body.contains("</html>"), "{what}: {}", response.body);
        }
        assert_eq!(is_page, !what.starts_with("the readiness"), "{what}");
    }
}

#[test]
fn a_surprise_of_the_database_is_a_page_without_internals() {
    let (_, response) = tour().iter().find(|(what, _)| what == SURPRISE).expect("requested");
    let body = response.body.to_lowercase();
    for internal in ["canary", "recovery", "trigger", "postgres", "sqlx", "error:", "src/"] {
        assert!(!body.contains(internal), "{internal}: {}", response.body);
    }
    assert!(response.body.contains(response.header("x-request-id").expect("an id")));
}

#[test]
fn every_cookie_over_https_is_bound_to_the_host_and_hidden_from_scripts() {
    let mut names = BTreeSet::new();
    for (what, cookie) in tour()
        .iter()
        .flat_map(|(what, response)| response.cookies().into_iter().map(move |one| (what, one)))
    {
        assert!(cookie.len() < 4096, "{what}: {} bytes", cookie.len());
        let mut parts = cookie.split("; ");
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("name=value");
        let mut attributes: Vec<&str> = parts.collect();
        attributes.sort_unstable();
        let max_age = attributes.iter().position(|attribute| attribute.starts_with("Max-Age="));
        let max_age = max_age.map(|at| attributes.remove(at));
        // A removal may also have a date, for clients that do not know Max-Age.
        attributes.retain(|attribute| !attribute.starts_with("Expires="));
        assert_eq!(
            attributes,
            ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"],
            "{what}: {cookie}"
        );
        let is_removal = max_age == Some("Max-Age=0");
        assert_eq!(is_removal, value.is_empty(), "{what}: {cookie}");
        let name = name.strip_prefix("__Host-").unwrap_or_else(|| panic!("{what}: {cookie}"));
        names.insert(name.to_owned());
    }
    let exist = in_sources("\"__Host-", |letter| letter.is_ascii_lowercase());
    assert!(exist.len() >= 4, "{exist:?}");
    assert_eq!(names, exist, "add what sets the missing ones to the tour");
}
