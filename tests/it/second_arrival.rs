//! A form that arrives twice, as after a double click: it acts once, and both arrivals get the same answer, on
//! whichever server. No other client gets it.

use crate::command_line::run;
use crate::costs::statements;
use crate::form_tokens::{hidden, token, with_token};
use crate::late_forms::Site;
use crate::late_forms::forms::{FORMS_WITHOUT_SESSION, forms};
use crate::support::breakpoint::until;
use crate::support::mail::{db_clear_rate_limits, db_mails};
use crate::support::webdriver::Driver;
use crate::support::{
    Browser, Database, OTHER_PASSWORD, PASSWORD, Response, Server, registered, site, verified_site,
};

/// Number of rows of every table that forms write to.
const ROWS: &str = "SELECT concat_ws(' ', (SELECT count(*) FROM users), (SELECT count(*) FROM sessions),
    (SELECT count(*) FROM audit_events), (SELECT count(*) FROM mail_outbox), (SELECT count(*) FROM email_tokens),
    (SELECT count(*) FROM registrations), (SELECT count(*) FROM recovery_requests), (SELECT count(*) FROM invitations),
    (SELECT sum(tries) FROM throttles))";

/// The answer without what differs in two equal ones: the date, the id of the request, and the sealed session
/// cookie, of which only the presence is compared.
fn essence(response: &Response) -> (u16, Vec<String>, String) {
    let mut head: Vec<String> = response
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.to_ascii_lowercase().as_str()))
        .map(|(name, value)| match value.split_once('=') {
            Some(("session", rest)) => {
                format!("session cookie, removed: {}", rest.starts_with(';'))
            }
            _ => format!("{name}: {value}"),
        })
        .collect();
    head.sort();
    (response.status, head, response.body.clone())
}

/// Sends the form to one server, and again to the other with the cookies of before and of after. Returns the answer.
fn assert_arrives_once(
    database: &Database,
    browser: &Browser,
    other: &Server,
    path: &str,
    fields: &[(&str, &str)],
) -> Response {
    let mut first = browser.clone();
    let answer = first.post(path, fields);
    assert!([303, 307].contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
    until(|| database.db_count("SELECT count(*) FROM recovery_requests") == 0);
    let unsent = "SELECT count(*) FROM registrations WHERE mailed_at IS NULL";
    until(|| database.db_count(unsent) == 0);
    let rows = database.db_texts(ROWS);
    for mut second in [browser.on_server(&other.addr), first.on_server(&other.addr)] {
        let repeated = second.post(path, fields);
        // A second sign-out is processed again; it changes nothing and says the same.
        if path != "/logout" {
            assert_eq!(essence(&repeated), essence(&answer), "{path}");
        }
        assert_eq!((repeated.status, repeated.location()), (answer.status, answer.location()));
        assert_eq!(database.db_texts(ROWS), rows, "{path}");
        assert_eq!(second.is_signed_in(), first.is_signed_in(), "{path}");
    }
    answer
}

/// Sends a form that was answered with `answer` from a client without cookies, and from another browser.
fn assert_no_other_client_gets(
    answer: &Response,
    server: &Server,
    database: &Database,
    path: &str,
    fields: &[(&str, &str)],
) {
    let pair = |cookie: &str| cookie.split(';').next().unwrap().to_owned();
    let mut another = server.browser();
    another.get("/login");
    assert!(another.cookies.contains_key("browser"));
    for mut client in [server.browser(), another] {
        db_clear_rate_limits(database);
        let count = || database.db_count("SELECT count(*) FROM sessions");
        let before = count();
        let response = client.post(path, fields);
        let kept: Vec<String> = answer.cookies().into_iter().map(pair).collect();
        for cookie in response.cookies().into_iter().map(pair) {
            assert!(cookie.ends_with('=') || !kept.contains(&cookie), "{path}: {cookie}");
        }
        // Only the sign-in form contains all that a sign-in takes, and then the session is a new one.
        let is_new = path == "/login" && count() == before + 1;
        assert_eq!(client.is_signed_in(), is_new, "{path}: {response:?}");
    }
}

#[test]
fn every_form_of_an_account_acts_once_when_it_arrives_twice() {
    let site = Site::start();
    let other = Server::start(&site.database, &[("FRONTDESK_SESSION_CACHE", "off")]);
    let done = forms().into_iter().filter(|form| [303, 307].contains(&form.expected.0));
    for (number, form) in done.enumerate() {
        let account = site.account(number);
        site.db_prepare(&form, &account);
        let mut here = account.here.clone();
        let token = token(&here.get("/account/profile").body);
        let (path, fields) = (form.send)(&account);
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        site.db_until_idle();
        assert_arrives_once(&site.database, &here, &other, &path, &with_token(&fields, &token));
    }
}

#[test]
fn every_public_form_acts_once_when_it_arrives_twice() {
    for route in FORMS_WITHOUT_SESSION.into_iter().chain(["/verify-email/link"]) {
        let is_verified = route.starts_with("/verify-email");
        let (server, database) = if is_verified { verified_site() } else { site() };
        let registration = if is_verified { "verified" } else { "open" };
        let other = Server::start(&database, &[("FRONTDESK_REGISTRATION", registration)]);
        let mut browser = server.browser();
        let mail = |kind: &str| {
            until(|| db_mails(&database).iter().any(|mail| mail.kind == kind));
            db_mails(&database).into_iter().find(|mail| mail.kind == kind).unwrap()
        };
        let sign_up =
            [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
        // Opens a mailed link. Returns where its form is sent, with the fields that are hidden in it.
        let open = |browser: &mut Browser, link: String, fields: &[(&str, &str)]| {
            let page = browser.open(&link).body;
            let hidden = |name: &str| (name.to_owned(), hidden(&page, name));
            let typed =
                fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let fields = typed.chain([hidden("form_token"), hidden("link")]).collect();
            (if route.ends_with("{token}") { link } else { route.to_owned() }, fields)
        };
        let owned = |fields: &[(&str, &str)]| -> Vec<(String, String)> {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            fields.iter().map(owned).collect()
        };
        let (path, fields): (String, Vec<(String, String)>) = match route {
            "/register" => {
                let page = token(&browser.get("/register").body);
                (route.to_owned(), owned(&with_token(&sign_up, &page)))
            }
            "/login" => {
                registered(&server, "ada@example.com");
                let page = token(&browser.get("/login").body);
                let fields =
                    [("email", "ada@example.com"), ("password", PASSWORD), ("remember_me", "on")];
                (route.to_owned(), owned(&with_token(&fields, &page)))
            }
            "/verify-email" => {
                let page = token(&browser.get("/register").body);
                let fields = with_token(&sign_up, &page);
                assert_arrives_once(&database, &browser, &other, "/register", &fields);
                assert_eq!(browser.post("/register", &fields).location(), "/verify-email");
                let page = token(&browser.get("/verify-email").body);
                db_clear_rate_limits(&database);
                let again = with_token(&[("again", "on")], &page);
                assert_arrives_once(&database, &browser, &other, "/verify-email", &again);
                let code = || {
                    let mails = db_mails(&database);
                    let mails = mails.iter().filter(|mail| mail.kind == "verify_registration");
                    mails.map(|mail| mail.text("code").to_owned()).collect::<Vec<_>>()
                };
                until(|| code().len() == 2);
                // The latest mail comes first or last; the code of the other one is wrong.
                let codes = code();
                let mut fields =
                    codes.iter().map(|code| owned(&[("code", code), ("form_token", &page)]));
                let right = fields.find(|fields| {
                    let fields: Vec<_> = fields
                        .iter()
                        .map(|(name, value)| (name.as_str(), value.as_str()))
                        .collect();
                    browser.clone().post("/verify-email", &fields).status == 303
                });
                (route.to_owned(), right.unwrap())
            }
            "/verify-email/link" => {
                server.browser().post("/register", &sign_up);
                let link = format!("/verify-email/{}", mail("verify_registration").text("token"));
                open(&mut browser, link, &[("password", PASSWORD)])
            }
            "/forgot-password" => {
                registered(&server, "ada@example.com");
                let page = token(&browser.get("/forgot-password").body);
                (route.to_owned(), owned(&[("email", "ada@example.com"), ("form_token", &page)]))
            }
            // The link is in the address, as in a form of the previous version, or in a hidden field.
            "/reset-password" | "/reset-password/{token}" => {
                registered(&server, "ada@example.com");
                browser.post("/forgot-password", &[("email", "ada@example.com")]);
                let link = format!("/reset-password/{}", mail("reset_password").text("token"));
                open(&mut browser, link, &[("new_password", OTHER_PASSWORD)])
            }
            "/invitation" | "/invitation/{token}" => {
                assert_eq!(run(&database, &["user", "invite", "ada@example.com"], "").code, 0);
                let link = format!("/invitation/{}", mail("invitation").text("token"));
                open(&mut browser, link, &[("display_name", "Ada"), ("password", PASSWORD)])
            }
            "/undo-email-change" | "/undo-email-change/{token}" => {
                let mut ada = registered(&server, "ada@example.com");
                database.db_execute("UPDATE users SET email_verified_at = now()");
                ada.post("/account/email", &[("email", "new@example.com")]);
                let code = mail("change_email").text("code").to_owned();
                assert_eq!(ada.post("/account/email/code", &[("change_code", &code)]).status, 303);
                let undo = mail("email_changed").text("undo_token").to_owned();
                open(&mut browser, format!("/undo-email-change/{undo}"), &[])
            }
            other => panic!("add the form {other}"),
        };
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = assert_arrives_once(&database, &browser, &other, &path, &fields);
        assert_no_other_client_gets(&answer, &server, &database, &path, &fields);
        assert_eq!(database.db_count("SELECT count(*) FROM users"), 1, "{route}");
    }
}

#[test]
fn two_arrivals_at_the_same_time_on_two_servers_act_once() {
    let (server, database) = verified_site();
    let other = Server::start(&database, &[("FRONTDESK_REGISTRATION", "verified")]);
    for round in 0..5 {
        db_clear_rate_limits(&database);
        let mut browser = server.browser();
        let page = token(&browser.get("/register").body);
        let email = format!("user{round}@example.com");
        let fields = [("email", email.as_str()), ("display_name", "Ada"), ("password", PASSWORD)];
        let fields = with_token(&fields, &page);
        let answers: Vec<Response> = std::thread::scope(|scope| {
            let arrivals = [&server, &other, &server, &other].map(|server| {
                let (mut browser, fields) = (browser.on_server(&server.addr), &fields);
                scope.spawn(move || browser.post("/register", fields))
            });
            arrivals.into_iter().map(|arrival| arrival.join().unwrap()).collect()
        });
        for answer in &answers {
            assert_eq!((answer.status, answer.location()), (303, "/verify-email"));
            assert_eq!(essence(answer), essence(&answers[0]));
        }
    }
    assert_eq!(database.db_count("SELECT count(*) FROM registrations"), 5);
    let mails = "SELECT count(*) FROM mail_outbox";
    until(|| database.db_count(mails) == 5);
}

#[test]
fn no_other_client_gets_the_answer_and_other_fields_are_another_wish() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let mut browser = server.browser();
    let page = token(&browser.get("/login").body);
    let fields = [("email", "ada@example.com"), ("password", PASSWORD)];
    let fields = with_token(&fields, &page);
    let mut thief = server.browser();
    thief.get("/login");
    assert_eq!(browser.post("/login", &fields).status, 303);
    let sessions = "SELECT count(*) FROM sessions";
    let before = database.db_count(sessions);
    // The password is right, so the other client signs in: in a session of its own.
    assert_eq!(thief.post("/login", &fields).status, 303);
    assert_eq!(database.db_count(sessions), before + 1);
    assert_eq!(server.browser().post("/login", &fields).status, 403, "without any cookie");
    assert_eq!(database.db_count(sessions), before + 1);

    let page = token(&browser.get("/account/password").body);
    let change = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    let change = with_token(&change, &page);
    assert_eq!(browser.clone().post("/account/password", &change).status, 303);
    // Another device of the same account, and a client without cookies.
    let mut device = server.browser();
    device.login("ada@example.com", OTHER_PASSWORD);
    let repeated = device.post("/account/password", &change);
    assert_eq!(repeated.status, 422, "processed again: {}", repeated.body);
    let repeated = server.browser().post("/account/password", &change);
    assert_eq!((repeated.status, repeated.location()), (303, "/login"));
    assert!(repeated.cookies().is_empty(), "{repeated:?}");

    // An answer that signed out contains no credential, but a notice.
    let mut leaving = server.browser();
    leaving.login("ada@example.com", OTHER_PASSWORD);
    let page = token(&leaving.get("/account/sessions").body);
    let (path, fields) = ("/account/delete", [("form_token", page.as_str())]);
    assert_eq!(leaving.clone().post(path, &fields).location(), "/");
    let stranger = server.browser().post(path, &fields);
    assert!(stranger.location().starts_with("/login"), "{stranger:?}");
    assert!(stranger.cookies().is_empty(), "{stranger:?}");
    device.login("ada@example.com", OTHER_PASSWORD);
    assert_eq!(device.post("/account/delete/cancel", &[]).status, 303);

    // The same form with other fields, and at another address.
    let page = token(&device.get("/account/profile").body);
    for name in ["Countess", "Lady", "Countess", "Countess", "Ada"] {
        let fields = [("display_name", name), ("form_token", &page)];
        assert_eq!(device.post("/account/profile", &fields).status, 303);
        let named = format!("SELECT count(*) FROM users WHERE display_name = '{name}'");
        assert_eq!(database.db_count(&named), 1);
    }
}

#[test]
fn a_session_that_ended_since_is_not_given_back() {
    let (server, _database) = site();
    registered(&server, "ada@example.com");
    let mut browser = server.browser();
    let page = token(&browser.get("/login").body);
    let fields = [("email", "ada@example.com"), ("password", PASSWORD)];
    let fields = with_token(&fields, &page);
    assert_eq!(browser.post("/login", &fields).status, 303);
    assert_eq!(browser.post("/logout", &[]).status, 303);
    assert_eq!(browser.post("/login", &fields).status, 303);
    assert!(browser.is_signed_in());
}

#[test]
fn what_is_kept_opens_nothing_and_strangers_leave_nothing() {
    let (server, database) = site();
    let rows = || database.db_count("SELECT count(*) FROM form_answers");
    let mut stranger = server.browser();
    let page = token(&stranger.get("/login").body);
    for path in [
        "/login",
        "/register",
        "/forgot-password",
        "/verify-email",
        "/logout",
        "/account/profile",
        "/nowhere",
    ] {
        let fields = [("email", "nobody"), ("password", "not it"), ("form_token", &page)];
        stranger.post(path, &fields);
        assert_eq!(rows(), 0, "{path}");
    }
    assert_eq!(
        stranger
            .post(
                "/login",
                &[("email", "a@example.com"), ("password", PASSWORD), ("form_token", &page)]
            )
            .status,
        422
    );
    assert_eq!(rows(), 0);
    let mut ada = server.browser();
    let page = token(&ada.get("/register").body);
    let fields = [
        ("email", "ada@example.com"),
        ("display_name", "Ada"),
        ("password", PASSWORD),
        ("form_token", &page),
    ];
    assert_eq!(ada.post("/register", &fields).status, 303);
    assert_eq!(rows(), 1);
    // Neither a header of the answer nor a digest that is stored elsewhere.
    let kept = "SELECT count(*) FROM form_answers
                 WHERE position('location'::bytea IN sealed_answer) > 0
                    OR form_digest IN (SELECT token_digest FROM sessions)
                    OR EXISTS (SELECT FROM sessions WHERE position(token_digest IN sealed_answer) > 0)";
    assert_eq!(database.db_count(kept), 0);
    let lifetime = "SELECT count(*) FROM form_answers WHERE expires_at BETWEEN now() AND now() + interval '30 seconds'";
    assert_eq!(database.db_count(lifetime), 1);
    // The purge deletes it: a server runs one when it starts.
    database.db_execute("UPDATE form_answers SET expires_at = now() - interval '1 second'");
    let _other = Server::start(&database, &[]);
    until(|| rows() == 0);
}

#[test]
fn a_form_whose_first_arrival_was_never_answered_is_processed_by_the_next() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let page = token(&ada.get("/account/profile").body);
    let fields = [("display_name", "Countess"), ("form_token", &page)];
    assert_eq!(ada.post("/account/profile", &fields).status, 303);
    // As if the server had been killed: claimed and not answered.
    database.db_execute("UPDATE users SET display_name = 'Ada'");
    database.db_execute(
        "UPDATE form_answers SET sealed_answer = NULL, expires_at = now() + interval '1 second'",
    );
    assert_eq!(ada.post("/account/profile", &fields).status, 303);
    let named = "SELECT count(*) FROM users WHERE display_name = 'Countess'";
    assert_eq!(database.db_count(named), 1);
}

#[test]
fn a_browser_that_closes_the_connection_of_the_first_arrival_gets_its_answer() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let page = token(&ada.get("/account/password").body);
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    let fields = with_token(&fields, &page);
    let body = crate::support::browser::encode(&fields);
    ada.send_partial("/account/password", "application/x-www-form-urlencoded", &body).abandon();
    let answer = ada.post("/account/password", &fields);
    assert_eq!((answer.status, answer.location()), (303, "/account/password"));
    assert!(ada.is_signed_in());
    let changes = "SELECT count(*) FROM audit_events WHERE event = 'password_changed'";
    assert_eq!(database.db_count(changes), 1);
}

#[test]
fn a_form_costs_two_statements_more_and_a_page_none() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let of_answers = || statements(&database, "%form_digest = $1%");
    let before = of_answers();
    let page = token(&ada.get("/account/profile").body);
    server.browser().get("/login");
    assert_eq!(of_answers() - before, 0);
    assert_eq!(ada.post("/account/profile", &[("display_name", "Ada")]).status, 303);
    assert_eq!(of_answers() - before, 0, "a form without a token");
    let fields = [("display_name", "Countess"), ("form_token", &page)];
    assert_eq!(ada.post("/account/profile", &fields).status, 303);
    assert_eq!(of_answers() - before, 2);
    assert_eq!(ada.post("/account/profile", &fields).status, 303);
    assert_eq!(of_answers() - before, 3, "the second arrival");
}

#[test]
fn a_double_click_shows_what_a_single_click_shows() {
    let (server, database) = site();
    let driver = Driver::start();
    let window = driver.window(&server.addr, 1200);
    window.open("/register");
    window.fill("email", "ada@example.com");
    window.fill("display_name", "Ada");
    window.fill("password", PASSWORD);
    window.double_click("form[action='/register'] button");
    window.wait_for_path("/account");
    window.open("/account/profile");
    window.fill("display_name", "Countess");
    window.double_click("form[action='/account/profile'] button");
    assert!(window.text("[role=status]").contains("Your name is now Countess."));
    window.open("/account/password");
    window.fill("current_password", PASSWORD);
    window.fill("new_password", OTHER_PASSWORD);
    window.double_click("form[action='/account/password'] button");
    assert!(window.text("[role=status]").contains("Your password has been changed"));
    server.browser().login("ada@example.com", OTHER_PASSWORD);
    for button in [".session:not(.current) button", "form.everywhere button"] {
        window.open("/account/sessions");
        window.double_click(button);
        assert!(window.text("[role=status]").starts_with("Signed out"), "{button}");
        server.browser().login("ada@example.com", OTHER_PASSWORD);
    }
    window.open("/account/email");
    window.fill("email", "countess@example.com");
    window.double_click("form[action='/account/email'] button");
    assert!(window.text("[role=status]").contains("We've sent an email to countess@example.com."));
    let mails = "SELECT count(*) FROM mail_outbox WHERE kind = 'change_email'";
    assert_eq!(database.db_count(mails), 1);
    window.open("/account/email");
    window.double_click("form[action='/account/email/verify'] button");
    assert!(window.text("[role=status]").contains("We've sent an email to ada@example.com."));
    window.open("/account/delete");
    window.double_click("form[action='/account/delete'] button");
    window.wait_for_path("/");
    assert!(window.text("[role=status]").contains("You're signed out everywhere."));
    window.open("/login");
    window.fill("email", "ada@example.com");
    window.fill("password", OTHER_PASSWORD);
    window.double_click("form[action='/login'] button");
    window.wait_for_path("/account/delete");
    window.double_click("form[action='/account/delete/cancel'] button");
    assert!(window.text("[role=status]").contains("Your account won't be deleted."));
    window.double_click("header form[action='/logout'] button");
    window.wait_for_path("/");
    assert!(window.text("[role=status]").contains("You're signed out."));
    let once = "SELECT count(*) FROM audit_events WHERE event IN ('password_changed', 'deletion_requested', 'deletion_canceled', 'registered')";
    assert_eq!(database.db_count(once), 4);
}
