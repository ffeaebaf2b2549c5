//! What the wait for other servers costs: questions are shared, a dead cookie asks nothing, and a server that
//! was killed delays sign-outs for one lease.

use std::time::{Duration, Instant};

use frontdesk::session::LEASE;

use crate::revocation::{Cluster, EMAIL, with_cookie};
use crate::support::breakpoint::until;
use crate::support::{Database, Server, registered};

/// How many questions were asked so far.
pub const ASKED: &str = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM session_asks";
/// A round whose wait ended with the lease logs this.
const SILENT: &str = "did not confirm that it invalidated";

#[test]
fn simultaneous_sign_outs_share_questions_and_each_waits_at_most_one_lease() {
    let cluster = &Cluster::new(2);
    let (database, first) = (&cluster.database, &cluster.servers[0]);
    let cookies = database.db_create_sessions(EMAIL, 30);
    assert!(cookies.iter().all(|cookie| with_cookie(&cluster.servers[1], cookie).is_signed_in()));
    let before = database.db_count(ASKED);
    cluster.servers[1].signal("STOP");
    let longest = std::thread::scope(|scope| {
        let sign_outs: Vec<_> = cookies
            .iter()
            .map(|cookie| {
                scope.spawn(move || {
                    let began = Instant::now();
                    assert_eq!(with_cookie(first, cookie).post("/logout", &[]).status, 303);
                    began.elapsed()
                })
            })
            .collect();
        sign_outs.into_iter().map(|sign_out| sign_out.join().unwrap()).max().unwrap()
    });
    let asked = database.db_count(ASKED) - before;
    println!("30 sign-outs beside a stopped server: {asked} questions, at most {longest:?}");
    cluster.servers[1].signal("CONT");
    for cookie in &cookies {
        assert!(!with_cookie(&cluster.servers[1], cookie).is_signed_in());
    }
    assert!(asked < 15, "{asked}");
    // One after the other they would wait for 30 leases.
    assert!(longest < 10 * LEASE, "{longest:?}");
}

#[test]
fn a_dead_cookie_asks_no_server_one_lease_after_the_end_of_its_session() {
    let database = Database::new();
    let servers = [0, 1].map(|_| Server::start(&database, &[]).until_live());
    registered(&servers[0], EMAIL);
    let cookie = database.db_create_sessions(EMAIL, 1).remove(0);
    let sign_out = || {
        let before = database.db_count(ASKED);
        assert_eq!(with_cookie(&servers[0], &cookie).post("/logout", &[]).status, 303);
        database.db_count(ASKED) - before
    };
    assert_eq!(sign_out(), 1, "the session ends");
    assert_eq!(sign_out(), 1, "another server may still accept it");
    let began = Instant::now();
    until(|| sign_out() == 0);
    let took = began.elapsed();
    assert!(took > Duration::from_secs(2), "too early: {took:?}");
    assert!((0..20).all(|_| sign_out() == 0));
}

#[test]
fn a_killed_server_delays_sign_outs_for_one_lease_although_its_row_lasts_longer() {
    let database = Database::new();
    let [first, mut killed] = [0, 1].map(|_| Server::start(&database, &[]).until_live());
    registered(&first, EMAIL);
    let cookies = database.db_create_sessions(EMAIL, 5);
    let process = killed.child.id();
    killed.signal("KILL");
    killed.ended();
    let claim = format!(
        "UPDATE session_caches SET trusted_until = clock_timestamp() + interval '15 seconds'
          WHERE id = (SELECT id FROM servers WHERE process_id = {process})"
    );
    for cookie in &cookies {
        let claimed = database
            .runtime
            .block_on(sqlx::query(sqlx::AssertSqlSafe(claim.as_str())).execute(&database.pool));
        assert_eq!(claimed.unwrap().rows_affected(), 1);
        assert_eq!(with_cookie(&first, cookie).post("/logout", &[]).status, 303);
    }
    let log = first.stop();
    let waits = log.matches(SILENT).count();
    assert!(waits <= 1, "only the first may wait for the whole lease: {waits}\n{log}");
}

#[test]
fn the_previous_version_cannot_shorten_the_lease_of_a_server() {
    let database = Database::new();
    let _server = Server::start(&database, &[]).until_live();
    let execute = |sql: &'static str| {
        database.runtime.block_on(sqlx::query(sql).execute(&database.pool)).unwrap();
    };
    execute("UPDATE session_caches SET trusted_until = clock_timestamp() + interval '14 seconds'");
    execute(
        "UPDATE session_caches SET trusted_until = clock_timestamp() + interval '3 seconds'
          WHERE trusted_until > clock_timestamp() + interval '3 seconds'",
    );
    let left =
        "SELECT EXTRACT(epoch FROM trusted_until - clock_timestamp())::bigint FROM session_caches";
    assert!(database.db_count(left) > 4);
    // A value that no server writes is corrected, also by the previous version.
    execute("INSERT INTO session_caches VALUES (gen_random_uuid(), 'infinity')");
    execute("UPDATE session_caches SET trusted_until = clock_timestamp() + interval '3 seconds'");
    let longest = "SELECT max(EXTRACT(epoch FROM trusted_until - clock_timestamp()))::bigint FROM session_caches";
    assert!(database.db_count(longest) <= 15);
}
