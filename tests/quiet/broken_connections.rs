//! Black-holed connections to PostgreSQL: they stay open, but no data arrives.

use std::time::{Duration, Instant};

use crate::support::proxy::{Link, Proxy};
use crate::support::{Database, Server, registered};
use crate::{exclusive, wait_until};

#[test]
fn black_holed_connections_are_replaced_by_new_ones() {
    let _exclusive = exclusive();
    let database = Database::new();
    let proxy = Proxy::start(database.socket());
    let url = database.url_through(&proxy);
    let settings = [("DATABASE_URL", url.as_str()), ("FRONTDESK_SESSION_CACHE", "off")];
    let server = Server::start(&database, &settings);
    let mut browser = registered(&server, "ada@example.com");
    let age = "UPDATE sessions SET last_seen_at = last_seen_at - interval '5 minutes'";
    let recently_seen =
        "SELECT count(*) FROM sessions WHERE last_seen_at > now() - interval '2 minutes'";
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    database.db_execute(age);
    assert!(browser.is_signed_in());
    // First the flush of last-seen times waits for a lock, then as many lookups as the pool allows.
    let mut held = database.db_begin("LOCK TABLE sessions IN EXCLUSIVE MODE");
    wait_until(|| database.db_count(waiting) == 1);
    held.db_execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE");
    let back = std::thread::scope(|scope| {
        wait_until(|| {
            let mut browser = browser.clone();
            scope.spawn(move || assert_eq!(browser.get("/account/profile").status, 503));
            database.db_count(waiting) == 5
        });
        proxy.set(Link::BlackHole);
        held.rollback();
        let began = Instant::now();
        assert_eq!(browser.get("/account/profile").status, 503);
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        proxy.black_hole_open();
        wait_until(|| browser.get("/account/profile").status == 200)
    });
    println!("pages were served again {back:?} after the outage");
    assert!(back < Duration::from_secs(3), "{back:?}");
    database.db_execute(age);
    let written = wait_until(|| browser.is_signed_in() && database.db_count(recently_seen) == 1);
    println!("last-seen times were written again {written:?} later");
}

#[test]
fn a_dead_connection_does_not_keep_its_slot_in_the_pool() {
    let _exclusive = exclusive();
    let database = Database::new();
    let proxy = Proxy::start(database.socket());
    database.runtime.block_on(async {
        let pool = frontdesk::db::pool(database.url_through(&proxy).parse().unwrap(), 1);
        let connection = pool.acquire().await.unwrap();
        proxy.black_hole_open();
        drop(connection);
        let began = Instant::now();
        while pool.acquire().await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "the pool slot is never freed");
        }
    });
}

#[test]
fn a_listen_connection_that_cannot_connect_backs_off_and_leaves_the_pool_alone() {
    let _exclusive = exclusive();
    let database = Database::new();
    let proxy = Proxy::start(database.socket());
    let unknown_role = database.url_through(&proxy).replacen("desk@", "nobody@", 1);
    let began = Instant::now();
    let server = Server::start(&database, &[("FRONTDESK_LISTEN_URL", &unknown_role)]);
    registered(&server, "ada@example.com");
    let connections = "SELECT pid::text FROM pg_stat_activity
                        WHERE datname = current_database() AND application_name = 'frontdesk' ORDER BY pid";
    let before = database.db_texts(connections);
    assert!(!before.is_empty());
    let so_far = proxy.connections();
    wait_until(|| proxy.connections() >= so_far.max(1) + 3);
    let after = database.db_texts(connections);
    assert!(before.iter().all(|pid| after.contains(pid)), "{before:?} {after:?}");
    assert!(
        began.elapsed() > Duration::from_millis(1300),
        "four attempts are 200, 400 and 800 ms apart"
    );
}
