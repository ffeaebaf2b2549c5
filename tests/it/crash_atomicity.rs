//! A server is killed with SIGKILL between any two statements of a registration, verification, password reset
//! or email change: all of its effects are committed, or none.

use crate::support::breakpoint::{db_kill_at, until};
use crate::support::mail::{db_mail, db_mails};
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Response, Server, registered};

const VERIFIED: [(&str, &str); 1] = [("FRONTDESK_REGISTRATION", "verified")];

fn post(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Option<Response> {
    let body = crate::support::browser::encode(fields);
    let kind = [("Content-Type", "application/x-www-form-urlencoded")];
    browser.try_send("POST", path, &kind, &body).ok()
}

/// For each of `stops`: starts a new server, runs `prepare`, and kills the server at this statement while
/// `act` runs.
/// `is_complete` returns true if all effects were committed, false if none were, and panics otherwise.
#[expect(clippy::print_stdout, reason = "figures of a test")]
fn kill_at_each<P: Send + Clone + 'static>(
    what: &str,
    settings: &[(&str, &str)],
    stops: &[(&str, &str)],
    prepare: impl Fn(&Server, &Database) -> (Browser, P),
    act: fn(&mut Browser, &P) -> Option<Response>,
    is_complete: impl Fn(&Database, &P) -> bool,
) {
    let (mut nothing, mut all) = (0, 0);
    for stop in stops {
        let database = Database::new();
        let mut server = Server::start(&database, settings);
        let (browser, prepared) = prepare(&server, &database);
        let argument = prepared.clone();
        db_kill_at(&database, &mut server, *stop, browser, move |browser| act(browser, &argument));
        if is_complete(&database, &prepared) {
            all += 1;
        } else {
            nothing += 1;
        }
    }
    println!(
        "{what}: killed at {} points: {nothing} times nothing was committed, {all} times everything",
        stops.len()
    );
    assert!(nothing > 0);
}

fn counts(database: &Database) -> Vec<i64> {
    [
        "users",
        "registrations",
        "email_tokens",
        "recovery_requests",
        "mail_outbox",
        "audit_events",
        "sessions",
    ]
    .map(|table| database.db_count(&format!("SELECT count(*) FROM {table}")))
    .to_vec()
}

#[test]
fn a_kill_during_an_open_registration_leaves_the_account_and_its_mail_or_neither() {
    let stops = [
        ("users", "BEFORE INSERT"),
        ("users", "AFTER INSERT"),
        ("audit_events", "BEFORE INSERT"),
        ("email_tokens", "BEFORE INSERT"),
        ("email_tokens", "AFTER INSERT"),
        ("mail_outbox", "BEFORE INSERT"),
        ("mail_outbox", "AFTER INSERT"),
        ("sessions", "BEFORE INSERT"),
        ("users", "CONSTRAINT AFTER INSERT"),
    ];
    kill_at_each(
        "registration, open",
        &[],
        &stops,
        |server, _| (server.browser(), ()),
        |browser, ()| {
            let fields =
                [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
            post(browser, "/register", &fields)
        },
        |database, ()| match counts(database)[..] {
            [0, 0, 0, 0, 0, 0, 0] => false,
            // Killed before the session is inserted, in a transaction of its own: the account is complete.
            [1, 0, 1, 0, 1, 1, 0] => true,
            ref other => panic!("partly committed: {other:?}"),
        },
    );
}

#[test]
fn a_kill_while_a_registration_is_stored_leaves_it_pending_or_absent() {
    let stops = [
        ("throttles", "BEFORE INSERT"),
        // One statement, which PostgreSQL finishes even if its client is gone.
        ("registrations", "BEFORE INSERT"),
        ("registrations", "AFTER INSERT"),
        ("registrations", "CONSTRAINT AFTER INSERT"),
    ];
    kill_at_each(
        "registration, verified",
        &VERIFIED,
        &stops,
        |server, _| (server.browser(), ()),
        |browser, ()| {
            let fields =
                [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
            post(browser, "/register", &fields)
        },
        |database, ()| {
            let stored = database.db_count("SELECT count(*) FROM registrations");
            let users = database.db_count("SELECT count(*) FROM users");
            assert_eq!(
                (users, db_mails(database).len()),
                (0, 0),
                "neither account nor mail so far"
            );
            let restarted = Server::start(database, &VERIFIED);
            // If the registration was not stored, the user tries again.
            if stored == 0 {
                let fields =
                    [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
                assert_eq!(restarted.browser().post("/register", &fields).status, 303);
            }
            let mail = db_mail(database, "verify_registration", 1);
            let link = format!("/verify-email/{}", mail.text("token"));
            assert_eq!(restarted.browser().post(&link, &[("password", PASSWORD)]).status, 303);
            stored == 1
        },
    );
}

#[test]
fn a_kill_before_a_registration_mail_makes_the_next_server_send_it_once() {
    let stops = [
        ("registrations", "BEFORE UPDATE"),
        ("registrations", "AFTER UPDATE"),
        ("mail_outbox", "BEFORE INSERT"),
        ("mail_outbox", "AFTER INSERT"),
        ("mail_outbox", "CONSTRAINT AFTER INSERT"),
    ];
    kill_at_each(
        "mail after a registration",
        &VERIFIED,
        &stops,
        |server, _| (server.browser(), ()),
        |browser, ()| {
            let fields =
                [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
            post(browser, "/register", &fields)
        },
        |database, ()| {
            let mailed = database.db_count("SELECT count(*) FROM registrations WHERE mailed_at IS NOT NULL AND token_digest IS NOT NULL");
            let unmailed = database.db_count("SELECT count(*) FROM registrations WHERE mailed_at IS NULL AND token_digest IS NULL");
            assert_eq!(mailed + unmailed, 1);
            assert_eq!(db_mails(database).len() as i64, mailed, "partly committed");
            let restarted = Server::start(database, &VERIFIED);
            let mail = db_mail(database, "verify_registration", 1);
            let link = format!("/verify-email/{}", mail.text("token"));
            assert_eq!(restarted.browser().post(&link, &[("password", PASSWORD)]).status, 303);
            mailed == 1
        },
    );
}

#[test]
fn a_kill_during_verification_leaves_the_account_or_a_valid_link() {
    let stops = [
        ("registrations", "BEFORE DELETE"),
        ("registrations", "AFTER DELETE"),
        ("users", "BEFORE INSERT"),
        ("users", "AFTER INSERT"),
        ("audit_events", "BEFORE INSERT"),
        ("audit_events", "AFTER INSERT"),
        ("users", "CONSTRAINT AFTER INSERT"),
        ("sessions", "BEFORE INSERT"),
    ];
    kill_at_each(
        "verification",
        &VERIFIED,
        &stops,
        |server, database| {
            for email in ["ada@example.com", "ADA@example.com"] {
                let fields = [("email", email), ("display_name", "Ada"), ("password", PASSWORD)];
                assert_eq!(server.browser().post("/register", &fields).status, 303);
            }
            db_mail(database, "verify_registration", 2);
            let token = db_mails(database)[0].text("token").to_owned();
            (server.browser(), format!("/verify-email/{token}"))
        },
        |browser, link| post(browser, link, &[("password", PASSWORD)]),
        |database, link| {
            let restarted = Server::start(database, &VERIFIED);
            match counts(database)[..] {
                [0, 2, 0, 0, 2, 0, 0] => {
                    assert_eq!(
                        restarted.browser().post(link, &[("password", PASSWORD)]).status,
                        303
                    );
                    false
                }
                [1, 0, 0, 0, 2, 2, 0] => {
                    assert_eq!(
                        restarted.browser().post(link, &[("password", PASSWORD)]).status,
                        410
                    );
                    assert_eq!(restarted.browser().login("ada@example.com", PASSWORD).status, 303);
                    true
                }
                ref other => panic!("partly committed: {other:?}"),
            }
        },
    );
}

#[test]
fn a_kill_before_a_password_reset_mail_makes_the_next_server_send_it_once() {
    let stops = [
        ("recovery_requests", "BEFORE DELETE"),
        ("recovery_requests", "AFTER DELETE"),
        ("email_tokens", "BEFORE DELETE"),
        ("email_tokens", "BEFORE INSERT"),
        ("mail_outbox", "BEFORE INSERT"),
        ("audit_events", "BEFORE INSERT"),
        ("audit_events", "AFTER INSERT"),
        ("mail_outbox", "CONSTRAINT AFTER INSERT"),
    ];
    kill_at_each(
        "mail after a password reset request",
        &[],
        &stops,
        |server, database| {
            registered(server, "ada@example.com");
            assert_eq!(
                server.browser().post("/forgot-password", &[("email", "ada@example.com")]).status,
                303
            );
            db_mail(database, "reset_password", 1);
            until(|| database.db_count("SELECT count(*) FROM recovery_requests") == 0);
            (server.browser(), ())
        },
        |browser, ()| post(browser, "/forgot-password", &[("email", "ada@example.com")]),
        |database, ()| {
            let mailed =
                db_mails(database).iter().filter(|mail| mail.kind == "reset_password").count() == 2;
            let pending = database.db_count("SELECT count(*) FROM recovery_requests");
            assert_eq!(pending, i64::from(!mailed), "partly committed");
            let restarted = Server::start(database, &[]);
            let newest = db_mail(database, "reset_password", 2);
            let link = format!("/reset-password/{}", newest.text("token"));
            let mut browser = restarted.browser();
            until(|| browser.open(&link).status == 200);
            assert_eq!(browser.post(&link, &[("new_password", OTHER_PASSWORD)]).status, 303);
            mailed
        },
    );
}

#[test]
fn a_kill_during_a_password_reset_leaves_all_of_it_or_a_valid_link() {
    let stops = [
        ("email_tokens", "BEFORE DELETE"),
        ("email_tokens", "AFTER DELETE"),
        ("users", "BEFORE UPDATE"),
        ("users", "AFTER UPDATE"),
        ("sessions", "BEFORE DELETE"),
        ("sessions", "AFTER DELETE"),
        ("audit_events", "BEFORE INSERT"),
        ("audit_events", "AFTER INSERT"),
        ("mail_outbox", "BEFORE INSERT"),
        ("mail_outbox", "AFTER INSERT"),
        ("users", "CONSTRAINT AFTER UPDATE"),
    ];
    kill_at_each(
        "password reset",
        &[],
        &stops,
        |server, database| {
            registered(server, "ada@example.com");
            server.browser().post("/forgot-password", &[("email", "ada@example.com")]);
            let token = db_mail(database, "reset_password", 1).text("token").to_owned();
            until(|| database.db_count("SELECT count(*) FROM recovery_requests") == 0);
            (server.browser(), format!("/reset-password/{token}"))
        },
        |browser, link| post(browser, link, &[("new_password", OTHER_PASSWORD)]),
        |database, link| {
            let counted = counts(database);
            let restarted = Server::start(database, &[]);
            let reset = database
                .db_count("SELECT count(*) FROM audit_events WHERE event = 'password_reset'");
            if reset == 0 {
                // users, registrations, links (verify and reset), requests, mails, events, sessions
                assert_eq!(counted[..5], [1, 0, 2, 0, 2], "partly committed");
                assert_eq!(counted[6], 1, "partly committed");
                assert_eq!(restarted.browser().login("ada@example.com", PASSWORD).status, 303);
                assert_eq!(
                    restarted.browser().post(link, &[("new_password", OTHER_PASSWORD)]).status,
                    303
                );
            } else {
                assert_eq!(counted[..5], [1, 0, 0, 0, 3], "partly committed");
                assert_eq!(counted[6], 0, "partly committed");
                assert_eq!(
                    restarted.browser().post(link, &[("new_password", PASSWORD)]).status,
                    410
                );
                assert_eq!(
                    restarted.browser().login("ada@example.com", OTHER_PASSWORD).status,
                    303
                );
            }
            reset == 1
        },
    );
}

#[test]
fn a_kill_during_an_email_change_leaves_all_of_it_or_a_valid_link() {
    let stops = [
        ("email_tokens", "BEFORE DELETE"),
        ("email_tokens", "AFTER DELETE"),
        ("users", "BEFORE UPDATE"),
        ("users", "AFTER UPDATE"),
        ("email_tokens", "BEFORE INSERT"),
        ("email_tokens", "AFTER INSERT"),
        ("mail_outbox", "BEFORE INSERT"),
        ("mail_outbox", "AFTER INSERT"),
        ("audit_events", "BEFORE INSERT"),
        ("audit_events", "AFTER INSERT"),
        ("users", "CONSTRAINT AFTER UPDATE"),
    ];
    kill_at_each(
        "email change",
        &[],
        &stops,
        |server, database| {
            let mut ada = registered(server, "ada@example.com");
            database.db_execute("UPDATE users SET email_verified_at = now()");
            ada.post("/account/email", &[("email", "new@example.com")]);
            let token = db_mail(database, "change_email", 1).text("token").to_owned();
            (ada, format!("/verify-email/{token}"))
        },
        |browser, link| post(browser, link, &[]),
        |database, link| {
            let links = database.db_texts("SELECT purpose FROM email_tokens ORDER BY purpose");
            let email = database.db_texts("SELECT email FROM users").remove(0);
            let events = database
                .db_count("SELECT count(*) FROM audit_events WHERE event = 'email_changed'");
            let mails = db_mails(database).len();
            let restarted = Server::start(database, &[]);
            if events == 0 {
                assert_eq!((email.as_str(), mails), ("ada@example.com", 2), "partly committed");
                assert_eq!(links, ["change_email", "verify_email"], "partly committed");
                assert_eq!(restarted.browser().post(link, &[("password", PASSWORD)]).status, 303);
            } else {
                assert_eq!((email.as_str(), mails), ("new@example.com", 4), "partly committed");
                assert_eq!(links, ["undo_email_change"], "partly committed");
                assert_eq!(restarted.browser().post(link, &[("password", PASSWORD)]).status, 410);
                assert_eq!(restarted.browser().login("new@example.com", PASSWORD).status, 303);
            }
            events == 1
        },
    );
}

#[test]
fn a_kill_during_the_undo_of_an_email_change_leaves_all_of_it_or_a_valid_link() {
    let stops = [
        ("email_tokens", "BEFORE DELETE"),
        ("users", "BEFORE UPDATE"),
        ("users", "AFTER UPDATE"),
        ("sessions", "BEFORE DELETE"),
        ("sessions", "AFTER DELETE"),
        ("audit_events", "BEFORE INSERT"),
        ("audit_events", "AFTER INSERT"),
        ("email_tokens", "BEFORE INSERT"),
        ("email_tokens", "AFTER INSERT"),
        ("mail_outbox", "BEFORE INSERT"),
        ("mail_outbox", "AFTER INSERT"),
        ("users", "CONSTRAINT AFTER UPDATE"),
    ];
    kill_at_each(
        "undo of an email change",
        &[],
        &stops,
        |server, database| {
            let mut ada = registered(server, "ada@example.com");
            database.db_execute("UPDATE users SET email_verified_at = now()");
            ada.post("/account/email", &[("email", "new@example.com")]);
            let code = db_mail(database, "change_email", 1).text("code").to_owned();
            assert_eq!(ada.post("/account/email/code", &[("change_code", &code)]).status, 303);
            let token = db_mail(database, "email_changed", 1).text("undo_token").to_owned();
            (server.browser(), format!("/undo-email-change/{token}"))
        },
        |browser, link| post(browser, link, &[]),
        |database, link| {
            let email = database.db_texts("SELECT email FROM users").remove(0);
            let counted = counts(database);
            let restarted = Server::start(database, &[]);
            match (email.as_str(), counted[2], counted[6]) {
                ("new@example.com", 1, 1) => {
                    assert_eq!(restarted.browser().post(link, &[]).status, 303);
                    false
                }
                // The link to set a new password remains, and a second click redirects to it.
                ("ada@example.com", 1, 0) => {
                    let hash = database.db_count("SELECT count(password_hash) FROM users");
                    assert_eq!(hash, 0, "the old password is deleted");
                    let again = restarted.browser().post(link, &[]);
                    assert_eq!(again.location(), "/reset-password", "{again:?}");
                    true
                }
                other => panic!("partly committed: {other:?}"),
            }
        },
    );
}
