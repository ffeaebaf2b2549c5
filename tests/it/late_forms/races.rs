//! Forms that race with a revocation or with each other.

use std::sync::Barrier;

use super::forms::forms as all_forms;
use super::{Account, Site};
use crate::command_line::run;
use crate::support::breakpoint::{Breakpoint, until};
use crate::support::mail::db_clear_rate_limits;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered};

/// Waits until a statement waits for a row lock. `is_over` says whether the revocation was answered.
fn until_blocked(database: &Database, is_over: impl Fn() -> bool) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'
                      AND wait_event IN ('transactionid', 'tuple')";
    until(|| {
        assert!(!is_over(), "the revocation was answered while the form was being processed");
        database.db_count(waiting) > 0
    });
}

#[test]
fn a_revocation_waits_for_a_form_that_is_being_processed() {
    let site = Site::start();
    let database = &site.database;
    // The statement at which the form is held after its session check, and the rows that show that it was
    // processed.
    let forms = [
        ("a new name", ("users", "BEFORE UPDATE"), "users WHERE display_name = 'Changed'"),
        (
            "another email",
            ("email_tokens", "BEFORE INSERT"),
            "email_tokens WHERE email LIKE 'another.%'",
        ),
        (
            "cancellation of the deletion",
            ("audit_events", "BEFORE INSERT"),
            "audit_events WHERE event = 'deletion_canceled'",
        ),
        (
            "the export",
            ("audit_events", "BEFORE INSERT"),
            "audit_events WHERE event = 'data_exported'",
        ),
    ];
    type Revoke = fn(&Database, &mut Account);
    let revocations: [(&str, Revoke); 4] = [
        ("sign-out in another tab", |_, account| {
            assert_eq!(account.here.clone().post("/logout", &[]).status, 303);
        }),
        ("sign-out on all other devices", |_, account| {
            assert_eq!(account.there.post("/account/sessions/revoke-others", &[]).status, 303);
        }),
        ("session revoke on the command line", |database, account| {
            assert_eq!(run(database, &["session", "revoke", &account.ids[0]], "").code, 0);
        }),
        ("in psql", |database, account| {
            let id = &account.ids[0];
            database.db_execute(&format!("DELETE FROM sessions WHERE id = '{id}'"));
        }),
    ];
    let mut number = 0;
    for (what, stop, done) in forms {
        let form = all_forms().into_iter().find(|form| form.what == what).unwrap();
        for (how, revoke) in revocations {
            let mut account = site.account(number);
            number += 1;
            site.db_prepare(&form, &account);
            site.db_until_idle();
            let count = || database.db_count(&format!("SELECT count(*) FROM {done}"));
            let before = count();
            let pending = site.start_form(&form, &account);
            let breakpoint = Breakpoint::db_at(database, stop);
            std::thread::scope(|scope| {
                let sent = scope.spawn(|| pending.finish());
                breakpoint.until_reached(1);
                let account = &mut account;
                let revoked = scope.spawn(move || revoke(database, account));
                until_blocked(database, || revoked.is_finished());
                assert_eq!(count(), before, "{what}, {how}");
                breakpoint.release();
                revoked.join().unwrap();
                assert_eq!(count(), before + 1, "{what}, {how}: processed before the revocation");
                let response = sent.join().unwrap();
                assert!(response.status < 400, "{what}, {how}: {response:?}");
            });
            assert!(!account.here.is_signed_in(), "{what}, {how}");
            database.db_execute(&format!("DROP TRIGGER stop ON {}", stop.0));
        }
    }
}

/// A browser with a session cookie.
fn with_cookie(server: &Server, cookie: &str) -> Browser {
    let mut browser = server.browser();
    browser.cookies.insert("session".to_owned(), cookie.to_owned());
    browser
}

/// Asserts that neither the server nor PostgreSQL failed.
fn assert_nothing_failed(server: &Server) {
    let log = server.log();
    for word in ["answered 500", "deadlock", "40P01"] {
        assert!(!log.contains(word), "{word}:\n{log}");
    }
}

#[test]
fn of_two_sessions_that_revoke_each_other_one_survives() {
    const EMAIL: &str = "ada@example.com";
    let database = &Database::new();
    let server = &Server::start(database, &[]);
    registered(server, EMAIL);
    for round in 0..50 {
        database.db_execute("DELETE FROM sessions");
        let cookies = database.db_create_sessions(EMAIL, 2);
        let ids: Vec<String> = cookies
            .iter()
            .map(|cookie| {
                let page = with_cookie(server, cookie).get("/account/sessions").body;
                let other =
                    page.split("/account/sessions/").find(|part| part.contains("/revoke\""));
                other.unwrap().split('/').next().unwrap().to_owned()
            })
            .collect();
        let barrier = Barrier::new(2);
        let statuses: Vec<(u16, String)> = std::thread::scope(|scope| {
            let revocations = |number: usize| {
                let (barrier, cookies, ids) = (&barrier, &cookies, &ids);
                scope.spawn(move || {
                    let mut browser = with_cookie(server, &cookies[number]);
                    // The page of each session lists the other one.
                    let path = match round % 2 {
                        0 => format!("/account/sessions/{}/revoke", ids[number]),
                        _ => "/account/sessions/revoke-others".to_owned(),
                    };
                    barrier.wait();
                    let response = browser.post(&path, &[]);
                    (response.status, response.location().to_owned())
                })
            };
            let both = [revocations(0), revocations(1)];
            both.into_iter().map(|end| end.join().unwrap()).collect()
        });
        let mut to: Vec<&str> = statuses.iter().map(|(_, location)| location.as_str()).collect();
        to.sort_unstable();
        assert_eq!(to, ["/account/sessions", "/login"], "round {round}: {statuses:?}");
        assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 1, "round {round}");
    }
    assert_nothing_failed(server);
}

#[test]
fn concurrent_forms_of_one_account_from_several_sessions_never_fail() {
    const EMAIL: &str = "ada@example.com";
    let database = &Database::new();
    let server = &Server::start(database, &[]);
    registered(server, EMAIL);
    let forms: [(&str, &[(&str, &str)]); 12] = [
        ("/account/profile", &[("display_name", "Changed")]),
        ("/account/password", &[("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)]),
        ("/account/email", &[("email", "new@example.com")]),
        ("/account/email/verify", &[]),
        ("/account/email/code", &[("verify_code", "AAAA-AAAA")]),
        ("/account/sessions/revoke-others", &[]),
        ("/account/confirm", &[("password", PASSWORD)]),
        ("/account/confirm", &[("password", "not it")]),
        ("/account/export", &[]),
        ("/account/delete", &[]),
        ("/account/delete/cancel", &[]),
        ("/logout", &[]),
    ];
    let hash = "SELECT password_hash FROM users";
    let hash = database.db_texts(hash).remove(0);
    for round in 0..10 {
        db_clear_rate_limits(database);
        database.db_execute(&format!("UPDATE users SET password_hash = '{hash}'"));
        let cookies = database.db_create_sessions(EMAIL, 4);
        std::thread::scope(|scope| {
            for (number, (path, fields)) in forms.into_iter().enumerate() {
                let mut browser = with_cookie(server, &cookies[(number + round) % cookies.len()]);
                scope.spawn(move || {
                    let response = browser.post(path, fields);
                    assert!(response.status < 500, "round {round}: {path}: {response:?}");
                });
            }
        });
    }
    assert_nothing_failed(server);
}
