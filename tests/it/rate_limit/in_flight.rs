//! Attempts in flight from an IP address that many people share.

use super::{ADA, behind_a_proxy, counters};
use crate::support::breakpoint::until;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

const SCHOOL: &str = "203.0.113.9";

/// The statuses of one concurrent sign-in of each of `count` users, alternately on each of `servers`.
fn sign_in_together(servers: &[Server], count: usize, password: &str) -> Vec<u16> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let server = &servers[number % servers.len()];
                let email = format!("user{number}@example.com");
                scope.spawn(move || server.browser().login_from(SCHOOL, &email, password).status)
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Two servers, and accounts `user0@example.com` and so on.
fn school(count: usize) -> (Vec<Server>, Database) {
    let (first, database) = behind_a_proxy();
    let second = Server::start(&database, &[("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1")]);
    registered(&first, ADA);
    database.db_create_users(ADA, count);
    database.db_execute("DELETE FROM throttles");
    (vec![first, second], database)
}

/// Sets the counter of the IP address to attempts in flight of a server that crashed `ago`.
fn db_crashed(database: &Database, in_flight: usize, ago: &str) {
    let changed = database.db_execute(&format!(
        "UPDATE throttles
            SET tries = {in_flight}, in_flight = {in_flight}, in_flight_since = now() - interval '{ago}',
                tried_at = now() - interval '{ago}', free_at = now() - interval '{ago}'
          WHERE action = 'sign_in_address'"
    ));
    assert_eq!(changed, 1);
}

#[test]
fn sixty_people_sign_in_at_the_same_moment_from_one_ip_over_two_servers() {
    let (servers, database) = school(60);
    assert_eq!(sign_in_together(&servers, 60, PASSWORD), [303; 60]);
    let left = "SELECT count(*) FROM throttles WHERE tries > 0 OR in_flight > 0";
    assert_eq!(database.db_count(left), 0, "{:?}", counters(&database));
}

#[test]
fn concurrent_failures_from_one_ip_count_fully_when_they_end() {
    let (servers, database) = school(60);
    assert_eq!(sign_in_together(&servers, 60, OTHER_PASSWORD), [422; 60]);
    assert!(
        counters(&database).contains(&"sign_in_address 60".to_owned()),
        "{:?}",
        counters(&database)
    );
    assert_eq!(database.db_count("SELECT max(in_flight)::bigint FROM throttles"), 0);
    let refused = servers[1].browser().login_from(SCHOOL, "user0@example.com", PASSWORD);
    assert_eq!(refused.status, 429);
    let waits = "SELECT count(*) FROM audit_events WHERE details->>'by' = 'address'";
    assert_eq!(database.db_count(waits), 1, "one event for the wait");
}

#[test]
fn a_burst_over_two_servers_gets_fewer_than_four_times_the_free_attempts() {
    let (servers, database) = school(1);
    assert_eq!(
        servers[0].browser().login_from(SCHOOL, "user0@example.com", OTHER_PASSWORD).status,
        422
    );
    // A burst whose attempts have not ended: as many as the limit allows are in flight.
    db_crashed(&database, 197, "1 s");
    let login = |server: &Server| server.browser().login_from(SCHOOL, ADA, OTHER_PASSWORD).status;
    assert_eq!(login(&servers[1]), 422, "the last one, which starts the wait before its work");
    assert_eq!((login(&servers[0]), login(&servers[1])), (429, 429));
}

#[test]
fn attempts_of_a_server_that_crashed_count_fully_after_a_minute() {
    let (servers, database) = school(1);
    let login =
        |password: &str| servers[0].browser().login_from(SCHOOL, "user0@example.com", password);
    assert_eq!(login(OTHER_PASSWORD).status, 422);
    db_crashed(&database, 60, "59 s");
    assert_eq!((login(PASSWORD).status, login(PASSWORD).status), (303, 303), "in flight");
    db_crashed(&database, 60, "61 s");
    assert_eq!(login(OTHER_PASSWORD).status, 422, "no wait has begun");
    assert_eq!(login(PASSWORD).status, 429, "61 failures");
    // They are forgotten like all others.
    database.db_execute("UPDATE throttles SET forget_at = now(), free_at = now() - interval '1 s'");
    assert_eq!(login(PASSWORD).status, 303);
}

#[test]
fn an_attempt_whose_client_disconnects_counts_fully() {
    let (server, database) = site();
    registered(&server, ADA);
    for _ in 0..4 {
        let body = format!("email=ada%40example.com&password={}", OTHER_PASSWORD.replace(' ', "+"));
        let request =
            server.browser().send_partial("/login", "application/x-www-form-urlencoded", &body);
        request.abandon();
    }
    until(|| counters(&database).contains(&"sign_in_address 4".to_owned()));
    until(|| database.db_count("SELECT sum(in_flight)::bigint FROM throttles") == 0);
    assert!(counters(&database).contains(&"sign_in_address 4".to_owned()), "refunded");
}
