//! Links to PostgreSQL on which nothing comes back any more.

use std::time::{Duration, Instant};

use crate::support::proxy::{Link, Proxy};
use crate::support::{Database, Server, registered};
use crate::{alone, until};

#[test]
fn a_link_that_swallows_everything_is_left_for_new_connections() {
    let _alone = alone();
    let database = Database::new();
    let wire = Proxy::start(database.socket());
    let url = database.url_through(&wire);
    let settings = [("DATABASE_URL", url.as_str()), ("FRONTDESK_SESSION_CACHE", "off")];
    let server = Server::start(&database, &settings);
    let mut browser = registered(&server, "ada@example.com");
    let age = "UPDATE sessions SET last_seen_at = last_seen_at - interval '5 minutes'";
    let is_seen = "SELECT count(*) FROM sessions WHERE last_seen_at > now() - interval '2 minutes'";
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    database.db_execute(age);
    assert!(browser.is_signed_in());
    // First the writing of activity waits, then as many look-ups as there may be.
    let mut held = database.db_begin("LOCK TABLE sessions IN EXCLUSIVE MODE");
    until(|| database.db_count(waiting) == 1);
    held.db_execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE");
    let back = std::thread::scope(|scope| {
        until(|| {
            let mut browser = browser.clone();
            scope.spawn(move || assert_eq!(browser.get("/account/profile").status, 503));
            database.db_count(waiting) == 5
        });
        wire.set(Link::BlackHole);
        held.rollback();
        let began = Instant::now();
        assert_eq!(browser.get("/account/profile").status, 503);
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        wire.black_hole_open();
        until(|| browser.get("/account/profile").status == 200)
    });
    println!("pages are back {back:?} after the link");
    assert!(back < Duration::from_secs(3), "{back:?}");
    database.db_execute(age);
    let written = until(|| browser.is_signed_in() && database.db_count(is_seen) == 1);
    println!("activity is written again {written:?} later");
}

#[test]
fn a_connection_on_which_nothing_comes_back_keeps_no_place_in_the_pool() {
    let _alone = alone();
    let database = Database::new();
    let wire = Proxy::start(database.socket());
    database.runtime.block_on(async {
        let pool = frontdesk::db::pool(database.url_through(&wire).parse().unwrap(), 1);
        let connection = pool.acquire().await.unwrap();
        wire.black_hole_open();
        drop(connection);
        let began = Instant::now();
        while pool.acquire().await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "its place is taken for ever");
        }
    });
}

#[test]
fn a_feed_that_can_not_connect_tries_less_and_less_and_leaves_the_pages_their_connections() {
    let _alone = alone();
    let database = Database::new();
    let wire = Proxy::start(database.socket());
    let nobody = database.url_through(&wire).replacen("desk@", "nobody@", 1);
    let began = Instant::now();
    let server = Server::start(&database, &[("FRONTDESK_LISTEN_URL", &nobody)]);
    registered(&server, "ada@example.com");
    let connections = "SELECT pid::text FROM pg_stat_activity
                        WHERE datname = current_database() AND application_name = 'frontdesk' ORDER BY pid";
    let before = database.db_texts(connections);
    assert!(!before.is_empty());
    let so_far = wire.connections();
    until(|| wire.connections() >= so_far.max(1) + 3);
    let after = database.db_texts(connections);
    assert!(before.iter().all(|pid| after.contains(pid)), "{before:?} {after:?}");
    assert!(began.elapsed() > Duration::from_millis(1300), "200, 400 and 800 ms lie between four");
}
