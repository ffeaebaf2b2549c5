//! PostgreSQL's clock is set back: times that were stored before are too far ahead. No attempt and no mail waits because of that.
//! The tests move the stored times ahead instead of the clock back.

use crate::command_line::run;
use crate::mail::{mailing, reset};
use crate::support::mail::db_mail;
use crate::support::smtp::{Smtp, Tls, until};
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered, site, verified_site};

const ADA: &str = "ada@example.com";

/// Moves every counter ahead, as if the clock had been set back by `time`.
fn db_set_back(database: &Database, time: &str) {
    database.db_execute(&format!(
        "UPDATE throttles SET free_at = free_at + interval '{time}', tried_at = tried_at + interval '{time}',
                              forget_at = forget_at + interval '{time}',
                              in_flight_since = in_flight_since + interval '{time}'"
    ));
}

#[test]
fn a_correct_sign_in_never_waits_after_the_clock_was_set_back() {
    let (server, database) = site();
    registered(&server, ADA);
    for time in ["1 s", "5 minutes", "30 minutes", "3 days", "12 years"] {
        assert_eq!(server.browser().login(ADA, PASSWORD).status, 303, "{time}");
        assert_eq!(server.browser().login(ADA, OTHER_PASSWORD).status, 422, "{time}");
        db_set_back(&database, time);
        assert_eq!(server.browser().login(ADA, PASSWORD).status, 303, "{time}");
    }
}

#[test]
fn a_wait_further_ahead_than_the_longest_one_is_over_and_a_counter_at_zero_never_waits() {
    let (server, database) = site();
    registered(&server, ADA);
    let refused = || {
        let statuses = (0..7).map(|_| server.browser().login(ADA, OTHER_PASSWORD).status);
        statuses.filter(|status| *status == 429).count()
    };
    assert_eq!(refused(), 2);
    database.db_execute("UPDATE throttles SET free_at = now() + interval '50 minutes'");
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 429, "a wait that can be");
    database.db_execute("UPDATE throttles SET free_at = now() + interval '61 minutes'");
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 303, "a wait that cannot be");
    server.browser().login(ADA, OTHER_PASSWORD);
    database.db_execute("UPDATE throttles SET tries = 0, free_at = now() + interval '5 minutes'");
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 303);
    // The attempt after such a wait counts like any other.
    assert_eq!(refused(), 2);
    db_set_back(&database, "10 minutes");
    assert_eq!(server.browser().login(ADA, OTHER_PASSWORD).status, 422);
    assert_eq!(server.browser().login(ADA, OTHER_PASSWORD).status, 429, "the next wait began");
}

#[test]
fn counters_from_before_the_clock_was_set_back_are_forgotten() {
    let (server, database) = site();
    registered(&server, ADA);
    server.browser().login(ADA, OTHER_PASSWORD);
    db_set_back(&database, "12 years");
    server.browser().login(ADA, OTHER_PASSWORD);
    assert_eq!(database.db_count("SELECT max(tries)::bigint FROM throttles"), 1);
    db_set_back(&database, "12 years");
    let purge = frontdesk::user::purge::rate_limit_counters;
    let purged = database.runtime.block_on(async {
        let mut connection = database.pool.acquire().await.unwrap();
        purge(&mut connection, 1000, 0).await.unwrap()
    });
    assert!(purged >= 3, "{purged}");
}

#[test]
fn mail_of_a_registration_does_not_wait_after_the_clock_was_set_back() {
    let (server, database) = verified_site();
    let register = || {
        let fields = [("email", ADA), ("display_name", "Ada"), ("password", PASSWORD)];
        server.browser().post("/register", &fields).status
    };
    assert_eq!(register(), 303);
    db_mail(&database, "verify_registration", 1);
    for (number, time) in [(2, "5 minutes"), (3, "1 day")] {
        db_set_back(&database, time);
        assert_eq!(register(), 303);
        db_mail(&database, "verify_registration", number);
    }
}

#[test]
fn mail_that_would_wait_too_long_is_sent() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    for (recipient, attempts, time) in [
        ("new@example.com", 0, "5 minutes"),
        ("leased@example.com", 1, "3 hours"),
        ("late@example.com", 9, "2 days"),
    ] {
        database.db_enqueue(recipient, &reset("Ada"));
        database.db_execute(&format!(
            "UPDATE mail_outbox SET attempts = {attempts}, next_attempt_at = now() + interval '{time}'
              WHERE recipient = '{recipient}'"
        ));
    }
    database.db_enqueue("scheduled@example.com", &reset("Ada"));
    database.db_execute(
        "UPDATE mail_outbox SET attempts = 9, next_attempt_at = now() + interval '1 day' WHERE recipient LIKE 'sch%'",
    );
    let server: Server = mailing(&database, &smtp, &[]);
    until("three mails are sent", || database.db_mails("sent") == 3);
    assert_eq!(database.db_mails("waiting"), 1, "a time that can be is kept");
    assert!(server.log().contains("clock was set back"), "{}", server.log());
    assert_eq!(run(&database, &["mail", "list", "--json"], "").code, 0);
}
