//! The account changes after a sign-in has verified the credential and before it inserts the session: every
//! way to sign in then creates no session and shows the sign-in form with an error. Locks, not sleeps, hold
//! the statements in between.

use crate::support::breakpoint::{Breakpoint, until};
use crate::support::mail::db_mail;
use crate::support::{
    Browser, Database, OTHER_PASSWORD, PASSWORD, Response, Server, registered, site, verified_site,
};

const EMAIL: &str = "ada@example.com";
const NEW_EMAIL: &str = "ada@new.example.com";
const SENTENCE: &str = "Your account changed while you were signing in.";

/// Changes of the account during the sign-in.
const CHANGES: [(&str, &str); 6] = [
    (
        "password changed",
        "UPDATE users SET password_hash = 'another', password_changed_at = clock_timestamp()",
    ),
    (
        "password invalidated",
        "UPDATE users SET password_hash = NULL, password_changed_at = clock_timestamp()",
    ),
    ("disabled", "UPDATE users SET disabled_at = now()"),
    ("role changed", "UPDATE users SET role = 'admin'"),
    (
        "email changed",
        "UPDATE users SET email = 'x@example.com', email_canonical = 'x@example.com'",
    ),
    ("deleted", "DELETE FROM users"),
];

/// A form to be submitted: the browser, the path and the fields.
type Form = (Browser, String, Vec<(&'static str, String)>);

fn post((mut browser, path, fields): Form) -> (Response, Browser) {
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    (browser.post(&path, &fields), browser)
}

fn is_waiting(database: &Database, like: &str) -> bool {
    database.db_count(&format!(
        "SELECT count(*) FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ILIKE '%{like}%'"
    )) > 0
}

/// Asserts that the response is the sign-in form for `email`, and that no session, audit event or cookie of a
/// sign-in exists.
fn assert_refused(what: &str, database: &Database, answer: &Response, email: &str) {
    assert_eq!(answer.status, 422, "{what}: {answer:?}");
    assert!(answer.body.contains(SENTENCE), "{what}: {}", answer.body);
    assert!(answer.body.contains("action=\"/login\""), "{what}");
    assert!(answer.body.contains(&format!("value=\"{email}\"")), "{what}: {}", answer.body);
    assert!(!answer.cookies().iter().any(|cookie| cookie.starts_with("session=")), "{what}");
    assert!(!answer.cookies().iter().any(|cookie| cookie.starts_with("device=")), "{what}");
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0, "{what}");
    let signed_in = "SELECT count(*) FROM audit_events WHERE event = 'signed_in'";
    assert_eq!(database.db_count(signed_in), 0, "{what}");
}

/// Submits `form`, and applies `change` after the first transaction of the form has committed (the trigger
/// `commit` on
/// `users` fires there) and before the account is read again. Returns the response.
fn change_after_commit(
    database: &Database,
    commit: &str,
    form: Form,
    change: &str,
) -> (Response, Browser) {
    let hold = Breakpoint::db_at(database, ("users", commit));
    std::thread::scope(|scope| {
        let sent = scope.spawn(move || post(form));
        hold.until_reached(1);
        // This lock waits for the stopped transaction, and every later statement waits for this lock.
        let lock = scope.spawn(|| database.db_begin("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"));
        until(|| is_waiting(database, "LOCK TABLE users"));
        hold.release();
        let mut held = lock.join().unwrap();
        held.db_execute(change);
        held.db_execute("COMMIT");
        sent.join().unwrap()
    })
}

/// An account without sessions.
fn account(server: &Server, database: &Database) {
    registered(server, EMAIL);
    db_forget_sign_in(database);
}

fn db_forget_sign_in(database: &Database) {
    database.db_execute("DELETE FROM sessions");
    database.db_execute("DELETE FROM audit_events");
}

fn password() -> (&'static str, String) {
    ("password", PASSWORD.to_owned())
}

/// Submits `form` to `/login`, and applies `change` after the password was verified.
fn change_during_login(database: &Database, form: Form, change: &str) -> (Response, Browser) {
    // Reads pass; locking the row of the account waits.
    let mut held = database.db_begin("LOCK TABLE users IN EXCLUSIVE MODE");
    std::thread::scope(|scope| {
        let sent = scope.spawn(move || post(form));
        until(|| is_waiting(database, "FOR SHARE"));
        held.db_execute(change);
        held.db_execute("COMMIT");
        sent.join().unwrap()
    })
}

#[test]
fn a_sign_in_shows_the_form_again_if_the_account_changes_during_it() {
    for (name, change) in CHANGES {
        let (server, database) = site();
        account(&server, &database);
        let fields =
            vec![("email", EMAIL.to_owned()), password(), ("next", "/account/email".into())];
        let form = (server.browser(), "/login".to_owned(), fields);
        let (answer, _) = change_during_login(&database, form, change);
        assert_refused(name, &database, &answer, EMAIL);
        assert!(
            answer.body.contains("value=\"/account/email\""),
            "{name}: the target of the sign-in is kept"
        );
    }
}

#[test]
fn a_sign_in_refused_by_an_account_change_keeps_the_browsers_existing_session() {
    let (server, database) = site();
    registered(&server, EMAIL);
    let bob = registered(&server, "bob@example.com");
    let fields = vec![("email", EMAIL.to_owned()), password()];
    let change = format!("UPDATE users SET role = 'admin' WHERE email = '{EMAIL}'");
    let form = (bob, "/login".to_owned(), fields);
    let (answer, mut bob) = change_during_login(&database, form, &change);
    assert_eq!(answer.status, 422);
    assert!(bob.get("/account/profile").body.contains("bob@example.com"));
}

#[test]
fn a_password_without_a_change_time_counts_as_older_than_one_with_a_change_time() {
    let (server, database) = site();
    account(&server, &database);
    database.db_execute("UPDATE users SET password_changed_at = NULL");
    let fields = vec![("email", EMAIL.to_owned()), password()];
    let form = (server.browser(), "/login".to_owned(), fields);
    let (answer, _) = change_during_login(&database, form, CHANGES[0].1);
    assert_refused("password changed", &database, &answer, EMAIL);
}

#[test]
fn a_registration_leads_to_sign_in_if_the_account_changes_during_it() {
    for (name, change) in CHANGES {
        let (server, database) = site();
        let fields = vec![("email", EMAIL.to_owned()), ("display_name", "Ada".into()), password()];
        let form = (server.browser(), "/register".to_owned(), fields);
        let (answer, _) = change_after_commit(&database, "CONSTRAINT AFTER INSERT", form, change);
        assert_refused(name, &database, &answer, EMAIL);
    }
}

#[test]
fn a_verified_registration_leads_to_sign_in_if_the_account_changes_during_it() {
    for (name, change) in CHANGES {
        for by_link in [false, true] {
            let (server, database) = verified_site();
            let mut browser = server.browser();
            let fields = [("email", EMAIL), ("display_name", "Ada"), ("password", PASSWORD)];
            browser.post("/register", &fields);
            let mail = db_mail(&database, "verify_registration", 1);
            let form = if by_link {
                (browser, format!("/verify-email/{}", mail.text("token")), vec![password()])
            } else {
                let code = vec![("code", mail.text("code").to_owned())];
                (browser, "/verify-email".to_owned(), code)
            };
            let (answer, _) =
                change_after_commit(&database, "CONSTRAINT AFTER INSERT", form, change);
            assert_refused(&format!("{name}, by link: {by_link}"), &database, &answer, EMAIL);
            assert!(
                answer.cookies().iter().any(|cookie| cookie.starts_with("registration=;")),
                "{name}: the registration is over"
            );
        }
    }
}

#[test]
fn an_email_link_leads_to_sign_in_if_the_account_changes_during_it() {
    for (name, change) in CHANGES {
        for (kind, email) in [("verify_email", EMAIL), ("change_email", NEW_EMAIL)] {
            let (server, database) = site();
            let mut ada = registered(&server, EMAIL);
            if kind == "change_email" {
                ada.post("/account/email", &[("email", NEW_EMAIL)]);
            }
            let link = format!("/verify-email/{}", db_mail(&database, kind, 1).text("token"));
            db_forget_sign_in(&database);
            let form = (server.browser(), link, vec![password()]);
            let (answer, _) =
                change_after_commit(&database, "CONSTRAINT AFTER UPDATE", form, change);
            assert_refused(&format!("{name}, {kind}"), &database, &answer, email);
        }
    }
}

#[test]
fn an_email_change_link_signs_in_with_the_verified_password() {
    let (server, database) = site();
    let mut ada = registered(&server, EMAIL);
    ada.post("/account/email", &[("email", NEW_EMAIL)]);
    let link = format!("/verify-email/{}", db_mail(&database, "change_email", 1).text("token"));
    let mut elsewhere = server.browser();
    let answer = elsewhere.post(&link, &[("password", PASSWORD)]);
    assert_eq!((answer.status, answer.location()), (303, "/account/email"), "{}", answer.body);
    assert!(elsewhere.get("/account/profile").body.contains(NEW_EMAIL));
    assert!(!ada.is_signed_in());
}

#[test]
fn a_session_replaced_by_a_sign_in_is_refused_everywhere_once_that_is_answered() {
    let database = Database::new();
    let servers =
        [Server::start(&database, &[]).until_live(), Server::start(&database, &[]).until_live()];
    registered(&servers[0], EMAIL);
    let mut browser = registered(&servers[0], "bob@example.com");
    for _ in 0..10 {
        let former = browser.clone();
        for server in &servers {
            assert!(former.on_server(&server.addr).is_signed_in());
        }
        let fields = [("email", EMAIL), ("password", PASSWORD), ("remember_me", "on")];
        let answer = browser.post("/login", &fields);
        assert_eq!(answer.status, 303, "{}", answer.body);
        for server in &servers {
            assert!(!former.on_server(&server.addr).is_signed_in());
            assert!(browser.on_server(&server.addr).is_signed_in());
        }
    }
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 2, "one session per browser");
}

#[test]
fn a_device_is_known_for_the_password_set_on_it_and_not_for_a_later_one() {
    let (server, database) = site();
    registered(&server, EMAIL);
    server.browser().post("/forgot-password", &[("email", EMAIL)]);
    let link = format!("/reset-password/{}", db_mail(&database, "reset_password", 1).text("token"));
    let form = (server.browser(), link, vec![("new_password", OTHER_PASSWORD.to_owned())]);
    // The same password is set again elsewhere, right after it was set here.
    let change = "UPDATE users SET password_changed_at = clock_timestamp()";
    let (answer, mut browser) =
        change_after_commit(&database, "CONSTRAINT AFTER UPDATE", form, change);
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert_eq!(browser.login(EMAIL, OTHER_PASSWORD).status, 303);
    let mails = "SELECT count(*) FROM mail_outbox WHERE kind = 'new_device'";
    assert_eq!(database.db_count(mails), 1, "the device is new under the later password");
}
