//! Any role of the database may send notifications on any channel. Forged notifications can at most clear
//! cache entries: they confirm no barrier request, renew no lease, and never make a revoked session valid.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::revocation::{Cluster, EMAIL, with_cookie};
use crate::support::breakpoint::until;
use crate::support::proxy::Link;
use crate::support::{Database, registered, site};

/// A role that may connect and has no other privilege.
struct OtherRole(PgConnectOptions);

impl OtherRole {
    fn new(database: &Database) -> Self {
        database.db_execute(
            "DO $$ BEGIN CREATE ROLE foreigner LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        );
        let options: PgConnectOptions = database.url.parse().unwrap();
        Self(options.username("foreigner"))
    }

    fn notify(&self, database: &Database, messages: &[String]) {
        database.runtime.block_on(async {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(self.0.clone());
            for message in messages {
                let sql = format!("NOTIFY \"frontdesk.public\", '{message}'");
                pool.execute(AssertSqlSafe(sql)).await.unwrap();
            }
            let refused = pool.execute("SELECT * FROM session_caches").await;
            assert!(refused.is_err(), "the role has no privilege on the table");
            pool.close().await;
        });
    }
}

#[test]
fn a_forged_barrier_request_is_confirmed_by_no_server() {
    let cluster = Cluster::new(2);
    let database = &cluster.database;
    let role = OtherRole::new(database);
    let requested = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM session_asks";
    let answered = "SELECT max(answered) FROM session_caches";
    for (round, number) in
        [i64::MAX, 1_000_000, database.db_count(requested) + 1].iter().enumerate()
    {
        cluster.until_live();
        role.notify(database, &[format!("ask:{number}"), format!("ask:{number}")]);
        // Servers process notifications in order.
        role.notify(database, &["all".to_owned()]);
        let cookie = database.db_create_sessions(EMAIL, 1).remove(0);
        for server in &cluster.servers {
            until(|| with_cookie(server, &cookie).is_signed_in());
        }
        assert!(database.db_count(answered) <= database.db_count(requested), "round {round}");
        // From now on the second server receives no notification.
        cluster.proxies[1].set(Link::BlackHole);
        assert_eq!(with_cookie(&cluster.servers[0], &cookie).post("/logout", &[]).status, 303);
        let status = with_cookie(&cluster.servers[1], &cookie).get("/account/profile").status;
        assert_eq!(status, 303, "round {round}: the session was revoked before the request");
        cluster.proxies[1].set(Link::Up);
        cluster.proxies[1].reset();
    }
}

#[test]
fn notifications_from_another_role_renew_no_lease_and_break_no_server() {
    let cluster = Cluster::new(2);
    let database = &cluster.database;
    let role = OtherRole::new(database);
    let mut browser = registered(&cluster.servers[0], "bob@example.com");
    let id = database.db_texts("SELECT id::text FROM session_caches LIMIT 1").remove(0);
    let malformed = [
        "",
        "all",
        "ask",
        "ask:",
        "ask:-1",
        "ask:x",
        "ask:9223372036854775808",
        "sessions:",
        "sessions:zz",
        "sessions:0000,ffff",
        "users:",
        "users:12345",
        "hello",
        "hello:x",
        "beat",
        "beat:",
        "everything",
        ":",
        "ß:é",
    ];
    let mut messages: Vec<String> = malformed.iter().map(ToString::to_string).collect();
    messages.push(format!("beat:{id}"));
    messages.extend((0..50).map(|number| format!("beat:{id}:{number}")));
    messages.push(format!("sessions:{}", ["abcd"; 1500].join(",")));
    role.notify(database, &messages);
    cluster.until_live();
    assert!(browser.is_signed_in());
    assert!(cluster.servers.iter().all(|server| !server.log().contains("panicked")));

    // Heartbeats of the servers are blocked. Their earlier notifications are replayed for longer than a
    // lease.
    let lock = database.db_begin("LOCK TABLE session_caches IN EXCLUSIVE MODE");
    database.runtime.block_on(async {
        let pool = PgPoolOptions::new().max_connections(2).connect_lazy_with(role.0.clone());
        let mut listener = PgListener::connect_with(&pool).await.unwrap();
        listener.listen("frontdesk.public").await.unwrap();
        let mut received = vec![format!("beat:{id}:{id}")];
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_secs(4) {
            let next = tokio::time::timeout(Duration::from_millis(20), listener.recv()).await;
            if let Ok(Ok(notification)) = next {
                received.push(notification.payload().to_owned());
            }
            received.sort();
            received.dedup();
            for message in &received {
                let sql = format!("NOTIFY \"frontdesk.public\", '{message}'");
                pool.execute(AssertSqlSafe(sql)).await.unwrap();
            }
        }
    });
    for server in &cluster.servers {
        let ready = server.browser().get("/readyz").body;
        assert!(!ready.contains("trusted"), "{ready}");
    }
    lock.rollback();
    cluster.until_live();
}

#[test]
fn a_lease_far_in_the_future_is_corrected_by_the_first_sign_out_that_waits_for_it() {
    let (server, database) = site();
    registered(&server, EMAIL);
    let cookies = database.db_create_sessions(EMAIL, 2);
    let in_future = "SELECT count(*) FROM session_caches
                  WHERE trusted_until > clock_timestamp() + interval '15 seconds'";
    for (cookie, until) in cookies.iter().zip(["infinity", "3000-01-01"]) {
        let lease = format!(
            "INSERT INTO session_caches (id, trusted_until) VALUES (gen_random_uuid(), '{until}')"
        );
        let inserted = sqlx::query(AssertSqlSafe(lease)).execute(&database.pool);
        database.runtime.block_on(inserted).unwrap();
        assert_eq!(database.db_count(in_future), 1);
        assert_eq!(with_cookie(&server, cookie).post("/logout", &[]).status, 303);
        assert_eq!(database.db_count(in_future), 0, "{until}: every sign-out would wait forever");
    }
}
