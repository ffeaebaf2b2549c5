//! Attempts whose password cannot be hashed, because the queue is full, are not counted.

use std::net::Ipv4Addr;

use super::{ADA, behind_a_proxy};
use crate::support::mail::db_mail;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered};

/// Sends the form from as many IP addresses as it takes to fill the queue, at the same moment, and returns the
/// statuses.
fn flood(
    server: &Server,
    path: &str,
    fields: impl Fn(u32) -> Vec<(&'static str, String)> + Sync,
) -> Vec<u16> {
    let cores = std::thread::available_parallelism().unwrap().get();
    // Twice the number that can hash or wait, which is 33 for each core.
    let count = 200.max(66 * cores) as u32;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let fields = &fields;
                scope.spawn(move || {
                    let ip = Ipv4Addr::from(0xc612_0000 + number).to_string();
                    let fields = fields(number);
                    let fields: Vec<(&str, &str)> =
                        fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    server.browser().post_from(&ip, path, &fields).status
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Every attempt that was answered with one of `counted` is counted, and no other one.
fn check(database: &Database, action: &str, statuses: &[u16], counted: &[u16]) {
    let expected = statuses.iter().filter(|status| counted.contains(status)).count();
    let tries = format!(
        "SELECT coalesce(sum(tries), 0)::bigint FROM throttles WHERE action = '{action}_address'"
    );
    assert_eq!(database.db_count(&tries), expected as i64, "{action}: {statuses:?}");
}

#[test]
fn an_attempt_that_meets_a_full_queue_of_hashes_is_given_back_at_sign_in_registration_and_reset() {
    let (server, database) = behind_a_proxy();
    registered(&server, ADA);
    let email = |number: u32| ("email", format!("user{number}@example.com"));
    database.db_execute("DELETE FROM throttles");

    let sign_in = |number| vec![email(number), ("password", OTHER_PASSWORD.to_owned())];
    let statuses = flood(&server, "/login", sign_in);
    assert!(statuses.contains(&503), "the queue was full: {statuses:?}");
    check(&database, "sign_in", &statuses, &[422]);

    let register = |number| {
        vec![email(number), ("display_name", "User".to_owned()), ("password", PASSWORD.to_owned())]
    };
    check(&database, "register", &flood(&server, "/register", register), &[303, 422]);

    server.browser().post("/forgot-password", &[("email", ADA)]);
    let token = db_mail(&database, "reset_password", 1).text("token").to_owned();
    let reset = |_| vec![("new_password", OTHER_PASSWORD.to_owned())];
    let statuses = flood(&server, &format!("/reset-password/{token}"), reset);
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1, "the link works once");
    check(&database, "verify", &statuses, &[410]);
}
