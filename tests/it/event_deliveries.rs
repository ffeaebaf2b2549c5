//! Hooks of a site after the commit: at least once, also if a server is killed, and without delaying each other.

use crate::hooks::{ADA, BOB, db_behave, db_calls, db_succeed, run, shop};
use crate::support::breakpoint::{Breakpoint, db_until_disconnected, until};
use crate::support::mail::{db_clear_rate_limits, db_mail};
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, registered};

/// The ids with which the hook of `event` was called.
fn db_ids(database: &Database, event: &str) -> Vec<String> {
    database.db_texts(&format!(
        "SELECT id::text FROM shop.hook_calls WHERE event = '{event} done' ORDER BY number"
    ))
}

fn waiting(database: &Database) -> i64 {
    database.db_count("SELECT count(*) FROM event_deliveries WHERE state = 'waiting'")
}

/// Ends the leases and waits of all events.
fn db_make_due(database: &Database) {
    database.db_execute(
        "UPDATE event_deliveries SET next_attempt_at = now() - interval '1 s' WHERE state = 'waiting'",
    );
}

#[test]
fn every_event_after_a_commit_reaches_its_hook_on_every_path() {
    let database = Database::new();
    let server = shop(&database, &[]);
    let mut ada = registered(&server, ADA);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    let is_delivered = |event: &str, count: usize| {
        until(|| db_ids(&database, event).len() >= count);
        assert_eq!(db_ids(&database, event).len(), count, "{event}");
    };
    is_delivered("signed_in", 1);
    let mut others = [server.browser(), server.browser(), server.browser()];
    for browser in &mut others {
        assert_eq!(browser.login(ADA, PASSWORD).status, 303);
        db_clear_rate_limits(&database);
    }
    is_delivered("signed_in", 4);
    // Signed out in the browser, of one other device, and of all others.
    assert_eq!(others[0].post("/logout", &[]).status, 303);
    is_delivered("signed_out", 1);
    let session = "SELECT id::text FROM sessions ORDER BY created_at DESC LIMIT 1";
    let other = format!("/account/sessions/{}/revoke", database.db_texts(session)[0]);
    assert_eq!(ada.post(&other, &[]).status, 303);
    is_delivered("signed_out", 2);
    assert_eq!(ada.post("/account/sessions/revoke-others", &[]).status, 303);
    is_delivered("signed_out", 3);
    // Passwords: on the page, by a link, and by an operator.
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(ada.post("/account/password", &fields).status, 303);
    is_delivered("password_changed", 1);
    server.browser().post("/forgot-password", &[("email", ADA)]);
    let mail = db_mail(&database, "reset_password", 1);
    let link = format!("/reset-password/{}", mail.text("token"));
    assert_eq!(server.browser().post(&link, &[("new_password", PASSWORD)]).status, 303);
    is_delivered("password_changed", 2);
    let (code, text) = run(&database, &["user", "set-password", ADA], OTHER_PASSWORD);
    assert_eq!(code, Some(0), "{text}");
    is_delivered("password_changed", 3);
    let (code, text) = run(&database, &["user", "delete", ADA, "--yes"], "");
    assert_eq!(code, Some(0), "{text}");
    is_delivered("deleted", 1);
    until(|| waiting(&database) == 0);
    // The hook gets the email, the IP address and the device; the table has none of them any longer.
    let calls = db_calls(&database);
    let signed_in = format!("signed_in done {ADA} Some(127.0.0.1) Some(\"Firefox on Linux\")");
    assert!(calls.contains(&signed_in), "{calls:?}");
    assert!(calls.contains(&format!("deleted done {ADA} None None")), "{calls:?}");
    let left = "SELECT count(*) FROM event_deliveries WHERE state <> 'delivered' OR sealed IS NOT NULL OR attempts <> 1";
    assert_eq!(database.db_count(left), 0);
    // Delivered events are deleted a week later.
    database.db_execute("UPDATE event_deliveries SET finished_at = now() - interval '8 days' WHERE event = 'after_sign_in'");
    drop(server);
    let _server = shop(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s")]);
    let old = "SELECT count(*) FROM event_deliveries WHERE event = 'after_sign_in'";
    until(|| database.db_count(old) == 0);
    assert!(database.db_count("SELECT count(*) FROM event_deliveries") > 0);
}

#[test]
fn an_event_is_delivered_although_the_server_is_killed_before_or_during_its_hook() {
    let database = Database::new();
    let mut server = shop(&database, &[]);
    // Before: between the commit of the sign-in and the lease.
    let breakpoint = Breakpoint::db_at(&database, ("event_deliveries", "BEFORE UPDATE"));
    registered(&server, ADA);
    breakpoint.until_reached(1);
    server.signal("KILL");
    server.ended();
    breakpoint.release();
    db_until_disconnected(&database);
    database.db_execute("DROP TRIGGER stop ON event_deliveries");
    db_make_due(&database);
    assert!(db_ids(&database, "signed_in").is_empty());
    let mut server = shop(&database, &[]);
    until(|| waiting(&database) == 0);
    assert_eq!(db_ids(&database, "signed_in").len(), 1);
    // During the hook, which has already done its work.
    db_behave(&database, "signed_in", "hang");
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 303);
    until(|| db_ids(&database, "signed_in").len() == 2);
    server.signal("KILL");
    server.ended();
    db_until_disconnected(&database);
    assert_eq!(waiting(&database), 1, "it is not lost");
    db_succeed(&database);
    db_make_due(&database);
    let _server = shop(&database, &[]);
    until(|| waiting(&database) == 0);
    let ids = db_ids(&database, "signed_in");
    assert_eq!(ids.len(), 3);
    assert_eq!(ids[1], ids[2], "the same event twice");
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn an_event_whose_hook_hangs_delays_no_other_event_of_that_hook() {
    let database = Database::new();
    let server = shop(&database, &[]);
    database.db_execute(&format!(
        "INSERT INTO shop.hook_behavior VALUES ('signed_in', '{BOB}', 'hang')"
    ));
    registered(&server, BOB);
    until(|| db_ids(&database, "signed_in").len() == 1);
    registered(&server, ADA);
    until(|| db_ids(&database, "signed_in").len() == 2);
    let hangs = format!(
        "SELECT count(*) FROM event_deliveries d JOIN users u ON u.id = d.user_id
          WHERE u.email = '{BOB}' AND d.state = 'waiting' AND d.attempts = 1 AND d.last_error IS NULL"
    );
    assert_eq!(database.db_count(&hangs), 1);
    for sign_ins in 2..=3 {
        db_clear_rate_limits(&database);
        assert_eq!(server.browser().login(ADA, PASSWORD).status, 303);
        until(|| db_ids(&database, "signed_in").len() > sign_ins);
    }
}

#[test]
fn many_events_at_once_are_each_delivered_at_the_first_attempt() {
    let database = Database::new();
    let server = shop(&database, &[]);
    db_behave(&database, "signed_in", "fail");
    registered(&server, ADA);
    for _ in 0..11 {
        db_clear_rate_limits(&database);
        assert_eq!(server.browser().login(ADA, PASSWORD).status, 303);
    }
    let failed = "SELECT count(*) FROM event_deliveries WHERE last_error IS NOT NULL";
    until(|| database.db_count(failed) == 12);
    db_succeed(&database);
    database.db_execute(
        "UPDATE event_deliveries SET attempts = 0, next_attempt_at = now() - interval '1 s'",
    );
    until(|| waiting(&database) == 0);
    let again = "SELECT count(*) FROM event_deliveries WHERE attempts <> 1";
    assert_eq!(database.db_count(again), 0);
    assert!(!server.log().contains("events cannot be read"), "{}", server.log());
}

#[test]
fn an_event_whose_hook_fails_is_retried_for_three_days_and_does_not_delay_others() {
    let database = Database::new();
    let server = shop(&database, &[]);
    for behavior in ["fail", "panic"] {
        let (bob, ada) = (format!("{behavior}-{BOB}"), format!("{behavior}-{ADA}"));
        database.db_execute(&format!(
            "INSERT INTO shop.hook_behavior VALUES ('signed_in', '{bob}', '{behavior}')"
        ));
        registered(&server, &bob);
        registered(&server, &ada);
        db_clear_rate_limits(&database);
        until(|| {
            db_calls(&database)
                .iter()
                .any(|call| call.starts_with(&format!("signed_in done {ada}")))
        });
        let failed = "SELECT count(*) FROM event_deliveries
                       WHERE state = 'waiting' AND last_error IS NOT NULL AND next_attempt_at > now() + interval '5 s'";
        until(|| database.db_count(failed) == 1);
        assert!(
            database
                .db_texts("SELECT to_jsonb(e)::text FROM event_deliveries e")
                .concat()
                .find('@')
                .is_none()
        );
        // The last attempt is after three days.
        database.db_execute("UPDATE event_deliveries SET retry_until = now() - interval '1 s' WHERE state = 'waiting'");
        db_make_due(&database);
        until(|| waiting(&database) == 0);
        let (_, text) = run(&database, &["event", "list", "--state", "failed"], "");
        assert!(text.contains("after_sign_in") && text.contains("it was asked to"), "{text}");
        assert!(!text.contains('@'), "{text}");
        let (code, text) = run(&database, &["doctor"], "");
        assert!(
            code == Some(4)
                && text.contains("1 event(s) of the hook after_sign_in hooks::signed_in failed"),
            "{text}"
        );
        db_succeed(&database);
        let (code, text) = run(&database, &["event", "retry", "--all"], "");
        assert!(code == Some(0) && text.contains("Queued 1 event(s)"), "{text}");
        assert_eq!(run(&database, &["event", "retry", "--all"], "").0, Some(3));
        until(|| waiting(&database) == 0);
        let ids = db_ids(&database, "signed_in");
        let first = ids.iter().filter(|id| ids.iter().filter(|other| other == id).count() > 1);
        assert!(first.count() >= 3, "the same event at each attempt: {ids:?}");
        database.db_execute("DELETE FROM shop.hook_calls");
    }
}

#[test]
fn two_servers_share_the_events_and_call_each_hook_once() {
    let database = Database::new();
    let servers = [shop(&database, &[]), shop(&database, &[])];
    for number in 0..10 {
        registered(&servers[number % 2], &format!("user{number}@example.com"));
        db_clear_rate_limits(&database);
    }
    until(|| waiting(&database) == 0);
    let mut ids = db_ids(&database, "signed_in");
    assert_eq!(ids.len(), 10);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10);
    // Events whose hook no program has any longer fail in the end.
    database.db_execute("UPDATE event_deliveries SET state = 'waiting', sealed = 'x', hook = 'gone', finished_at = NULL, retry_until = now() - interval '2 days'");
    drop(servers);
    let _server = shop(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s")]);
    until(|| waiting(&database) == 0);
    let error = "SELECT DISTINCT last_error FROM event_deliveries";
    assert!(database.db_texts(error)[0].contains("no running server has this hook"));
}
