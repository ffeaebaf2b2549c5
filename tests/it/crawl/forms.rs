//! Every POST route: from another site, and by strangers.

use crate::invitations::invite;
use crate::late_forms::forms::{FORMS_WITHOUT_SESSION, Form, forms};
use crate::late_forms::{Account, Site};
use crate::support::account_states::register;
use crate::support::browser::encode;
use crate::support::mail::db_mail;
use crate::support::routes::routes;
use crate::support::rows::changes;
use crate::support::{Browser, OTHER_PASSWORD, PASSWORD, Response, Server};

type Header = (&'static str, &'static str);

/// What browsers send with a form of another site, and what none sends.
const CROSS_SITE: [&[Header]; 10] = [
    &[("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-site")],
    &[("Sec-Fetch-Site", "")],
    &[("Sec-Fetch-Site", "Same-Origin")],
    &[("Sec-Fetch-Site", "cross-site"), ("Origin", "http://127.0.0.1:8080")],
    &[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
    &[("Origin", "https://evil.example")],
    &[("Origin", "null")],
    &[("Origin", "http://127.0.0.1:8080.evil.example")],
    &[("Origin", "https://127.0.0.1:8080")],
];

const CONTENT_TYPE: Header = ("Content-Type", "application/x-www-form-urlencoded");

/// One form per POST route, which changes something if it is sent from the own site.
fn one_form_per_route() -> Vec<Form> {
    let mut found: Vec<Form> = Vec::new();
    for form in forms() {
        // The first one of a route that is not refused.
        let is_new = found.iter().all(|known| known.route != form.route);
        if is_new && [200, 303].contains(&form.expected.0) {
            found.push(form);
        }
    }
    found
}

fn send(
    browser: &mut Browser,
    path: &str,
    fields: &[(&str, &str)],
    headers: &[Header],
) -> Response {
    let headers = [&[CONTENT_TYPE], headers].concat();
    browser.send("POST", path, &headers, &encode(fields))
}

/// Sends the form in every cross-site shape, which changes nothing, and then from the own site, which
/// changes something.
fn assert_refused_from_other_sites(
    site: &Site,
    browser: &mut Browser,
    (route, path): (&str, &str),
    fields: &[(&str, &str)],
) {
    let cookies = browser.cookies.clone();
    site.database.db_until_idle();
    let before = site.database.db_rows();
    for headers in CROSS_SITE {
        let response = send(browser, path, fields, headers);
        assert_eq!(response.status, 403, "{route} {headers:?}: {}", response.body);
        assert_eq!(browser.cookies, cookies, "{route} {headers:?}");
    }
    let changed = changes(&before, &site.database.db_rows());
    assert!(changed.is_empty(), "{route}: {changed:?}");
    let response = send(browser, path, fields, &[("Sec-Fetch-Site", "same-origin")]);
    assert!([200, 303].contains(&response.status), "{route}: {}", response.body);
    let changed = changes(&before, &site.database.db_rows());
    assert!(!changed.is_empty(), "{route} changes nothing even from the own site");
}

#[test]
fn no_form_of_a_session_is_accepted_from_another_site() {
    let site = Site::start();
    for (number, form) in one_form_per_route().iter().enumerate() {
        let account = site.account(number);
        site.db_prepare(form, &account);
        let (path, fields) = (form.send)(&account);
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut browser = account.here.clone();
        assert_refused_from_other_sites(&site, &mut browser, (form.route, &path), &fields);
    }
}

/// A form that acts for no session: the browser that sends it, its path and fields.
type Sent = (Browser, String, Vec<(&'static str, String)>);

/// Prepares the form of one of [`FORMS_WITHOUT_SESSION`].
fn form_without_session(route: &str, site: &Site, account: &Account) -> Sent {
    let stranger = site.server.browser();
    let (email, password) = (account.email.clone(), PASSWORD.to_owned());
    match route {
        "/register" => {
            let (new, name) = ("new@example.com".to_owned(), "New".to_owned());
            let fields = vec![("email", new), ("display_name", name), ("password", password)];
            (stranger, route.to_owned(), fields)
        }
        "/login" => (stranger, route.to_owned(), vec![("email", email), ("password", password)]),
        "/verify-email" => {
            let verified = Server::start(&site.database, &[("FRONTDESK_REGISTRATION", "verified")]);
            let mut registering = verified.browser();
            assert_eq!(register(&mut registering, "pending@example.com").status, 303);
            let code = db_mail(&site.database, "verify_registration", 1).text("code").to_owned();
            (registering.on_server(&site.server.addr), route.to_owned(), vec![("code", code)])
        }
        "/forgot-password" => (stranger, route.to_owned(), vec![("email", email)]),
        "/reset-password/{token}" => {
            (stranger, account.reset.clone(), vec![("new_password", OTHER_PASSWORD.to_owned())])
        }
        // The pages without a token in their address, to which the links lead.
        "/reset-password" => {
            let mut owner = site.server.browser();
            assert_eq!(owner.open(&account.reset).status, 200);
            (owner, route.to_owned(), vec![("new_password", OTHER_PASSWORD.to_owned())])
        }
        "/undo-email-change" => {
            let (mut owner, path, fields) =
                form_without_session("/undo-email-change/{token}", site, account);
            assert_eq!(owner.open(&path).status, 200);
            (owner, route.to_owned(), fields)
        }
        "/verify-email/link" => {
            let mut owner = site.server.browser();
            assert_eq!(owner.open(&account.verify.0).status, 200);
            (owner, route.to_owned(), vec![("password", password)])
        }
        "/undo-email-change/{token}" => {
            let mut here = account.here.clone();
            for (name, (_, code)) in
                [("verify_code", &account.verify), ("change_code", &account.change)]
            {
                assert_eq!(here.post("/account/email/code", &[(name, code)]).status, 303);
            }
            let sent = "SELECT count(*) FROM mail_outbox WHERE kind = 'email_changed'";
            let sent = site.database.db_count(sent) as usize;
            let undo = db_mail(&site.database, "email_changed", sent).text("undo_token").to_owned();
            (stranger, format!("/undo-email-change/{undo}"), Vec::new())
        }
        "/invitation" => {
            let (mut guest, path, fields) =
                form_without_session("/invitation/{token}", site, account);
            assert_eq!(guest.open(&path).status, 200);
            (guest, route.to_owned(), fields)
        }
        "/invitation/{token}" => {
            let number = site.database.db_count("SELECT count(*) FROM users");
            let mail = invite(&site.database, &format!("guest{number}@example.com"));
            let path = format!("/invitation/{}", mail.text("token"));
            (stranger, path, vec![("display_name", "Grace".to_owned()), ("password", password)])
        }
        route => panic!("add path and fields of {route}"),
    }
}

#[test]
fn no_form_without_a_session_is_accepted_from_another_site() {
    let site = Site::start();
    // A link that verifies an email is of use to a stranger who knows the password, too.
    let all = FORMS_WITHOUT_SESSION.into_iter().chain(["/verify-email/link"]);
    for (number, route) in all.enumerate() {
        let account = site.account(number);
        let (mut browser, path, fields) = form_without_session(route, &site, &account);
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_refused_from_other_sites(&site, &mut browser, (route, &path), &fields);
    }
}

#[test]
fn every_form_below_account_sends_strangers_to_sign_in_and_changes_nothing() {
    let site = Site::start();
    let account = site.account(0);
    let mut ended = account.there.clone();
    assert_eq!(ended.clone().post("/logout", &[]).status, 303);
    site.database.db_until_idle();
    let before = site.database.db_rows();
    let mut checked = 0;
    for route in routes() {
        if !route.path.starts_with("/account") || !route.supports("POST") {
            continue;
        }
        checked += 1;
        let path = route.path.replace("{id}", &account.ids[0]);
        let fields =
            [("display_name", "Eve"), ("password", PASSWORD), ("email", "eve@example.com")];
        for browser in [&mut site.server.browser(), &mut ended] {
            let response = browser.post(&path, &fields);
            assert_eq!((response.status, response.body.as_str()), (303, ""), "{path}");
            assert!(response.location().starts_with("/login"), "{path}: {}", response.location());
        }
    }
    assert!(checked > 8, "{checked}");
    let mut changed = changes(&before, &site.database.db_rows());
    changed.retain(|row| !row.contains("session_used_after_end"));
    assert!(changed.is_empty(), "{changed:?}");
}
