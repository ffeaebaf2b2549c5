//! Once a sign-out has been answered, no server accepts that session: over thousands of sessions, with
//! healthy and paused servers, and with LISTEN connections that are killed, reset, half-open or stalled.
//! Every request is recorded, and
//! `History::check` searches the records for violations.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use frontdesk::db::migrations;
use frontdesk::db::private_cluster::Cluster as PostgreSql;

use crate::barrier::ASKED;
use crate::support::browser::encode;
use crate::support::folder::new_folder;
use crate::support::history::{Event, History, Outcome, Report};
use crate::support::proxy::{Link, Proxy};
use crate::support::{Browser, Database, Server, registered, site};

pub const EMAIL: &str = "ada@example.com";
/// Ends the LISTEN connections of all servers on this database.
pub const TERMINATE: &str = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
                          WHERE application_name = 'frontdesk feed' AND datname = current_database()";
/// Statements that revoke the newest session in psql.
const IN_PSQL: [&str; 2] = [
    "DELETE FROM sessions WHERE id = (SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1) RETURNING id::text",
    "UPDATE sessions SET expires_at = now() WHERE id = (SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1) RETURNING id::text",
];

/// Servers on one database; the LISTEN connection of each goes through a proxy of its own.
pub struct Cluster {
    pub database: Database,
    pub servers: Vec<Server>,
    pub proxies: Vec<Proxy>,
}

impl Cluster {
    pub fn new(count: usize) -> Self {
        Self::on(Database::new(), count)
    }

    fn on(database: Database, count: usize) -> Self {
        let proxies: Vec<Proxy> = (0..count).map(|_| Proxy::start(database.socket())).collect();
        let servers = proxies
            .iter()
            .map(|proxy| {
                let url = database.url_through(proxy);
                Server::start(&database, &[("FRONTDESK_LISTEN_URL", &url)]).until_live()
            })
            .collect::<Vec<Server>>();
        registered(&servers[0], EMAIL);
        Self { database, servers, proxies }
    }

    fn browsers(&self, cookie: &str) -> Vec<Browser> {
        self.servers.iter().map(|server| with_cookie(server, cookie)).collect()
    }

    /// Waits until the caches of all servers are live.
    pub fn until_live(&self) {
        for server in &self.servers {
            let began = Instant::now();
            while !server.browser().get("/readyz").body.contains("trusted") {
                assert!(began.elapsed() < Duration::from_secs(10), "{}", server.log());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Injects `fault`, revokes a session that every server has cached by `statement`, and calls `then`;
    /// returns how long it took until every server refused the session.
    fn time_until_refused(
        &self,
        name: &str,
        statement: &str,
        fault: &dyn Fn(),
        then: &dyn Fn(),
    ) -> Duration {
        self.until_live();
        let cookie = self.database.db_create_sessions(EMAIL, 1).remove(0);
        let mut browsers = self.browsers(&cookie);
        assert!(browsers.iter_mut().all(Browser::is_signed_in));
        fault();
        // Not by db_execute, which waits until every server knows the change.
        assert_eq!(self.database.db_texts(statement).len(), 1);
        let began = Instant::now();
        then();
        for browser in &mut browsers {
            // A 503, while the connection to the database is down, does not accept the session. What counts
            // is when the request was sent: the lease does not limit how long a response takes.
            let mut sent = began.elapsed();
            while browser.get("/account/profile").status == 200 {
                assert!(sent < Duration::from_millis(3100), "{name}: longer than a lease");
                sent = began.elapsed();
            }
        }
        began.elapsed()
    }

    /// Requests a page of a server with the cookie of a session, and records the outcome.
    fn request_page(&self, history: &History, session: usize, server: usize, cookie: &str) {
        let mut browser = with_cookie(&self.servers[server], cookie);
        let began = Instant::now();
        let outcome = match browser.try_send("GET", "/account/profile", &[], "") {
            Ok(response) if response.status == 200 => Outcome::Accepted,
            Ok(response) if response.location().starts_with("/login") => Outcome::Refused,
            _ => Outcome::Unavailable,
        };
        history.record(Event { session, server, began, ended: Instant::now(), outcome });
    }

    /// Revokes a session on a server. Retries after a 503, which does not say whether the session is revoked.
    fn revoke(&self, history: &History, session: usize, server: usize, by: &Revocation<'_>) {
        let first = Instant::now();
        let mut outcome = Outcome::Unavailable;
        while outcome != Outcome::Revoked && first.elapsed() < Duration::from_secs(30) {
            let began = Instant::now();
            if by(server) {
                outcome = Outcome::Revoked;
            }
            history.record(Event { session, server, began, ended: Instant::now(), outcome });
        }
    }

    /// Signs out by the button in the header.
    fn sign_out(&self, server: usize, cookie: &str) -> bool {
        post_succeeds(&mut with_cookie(&self.servers[server], cookie), "/logout", &[])
    }

    /// Requests pages of every server before, while and after a session is revoked, and records all outcomes.
    pub fn revoke_under_traffic(
        &self,
        history: &History,
        session: usize,
        cookie: &str,
        by: &Revocation<'_>,
    ) {
        let servers = self.servers.len();
        let request_page = |server| self.request_page(history, session, server, cookie);
        (0..servers).for_each(request_page);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for server in 0..servers {
                let (request_page, is_over) = (&request_page, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::SeqCst) {
                        request_page(server);
                    }
                });
            }
            self.revoke(history, session, session % servers, by);
            is_over.store(true, Ordering::SeqCst);
        });
        (0..servers).for_each(request_page);
    }

    /// Signs out of these sessions in eight threads, until all are done or `stop` is set.
    fn sign_out_all(&self, history: &History, cookies: &[String], stop: &AtomicBool) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        let Some(cookie) = cookies.get(number) else { return };
                        let by = |server| self.sign_out(server, cookie);
                        self.revoke_under_traffic(history, number, cookie, &by);
                    }
                });
            }
        });
    }

    /// Signs out of sessions while `fault` is injected after one second and repaired after five more; returns
    /// a summary.
    fn sign_out_during(&self, name: &str, fault: impl Fn(&Self), repair: impl Fn(&Self)) -> String {
        let (stop, history) = (AtomicBool::new(false), History::default());
        // Created before the fault; more sessions than can be revoked in that time.
        let cookies = self.database.db_create_sessions(EMAIL, 10_000);
        let window = std::thread::scope(|scope| {
            let sign_outs = scope.spawn(|| self.sign_out_all(&history, &cookies, &stop));
            std::thread::sleep(Duration::from_secs(1));
            let broken = Instant::now();
            fault(self);
            std::thread::sleep(Duration::from_secs(5).saturating_sub(broken.elapsed()));
            let repaired = Instant::now();
            repair(self);
            std::thread::sleep(Duration::from_secs(2));
            stop.store(true, Ordering::SeqCst);
            sign_outs.join().expect("no thread panics");
            broken..repaired
        });
        let report = history.check();
        let (revoked, refused) = history.during(window, self.servers.len());
        let summary = checked_summary(name, &report);
        assert!(report.sessions < cookies.len(), "{name}: no session was left to revoke");
        // At least one in each of the eight threads: a revocation waits for one lease at most.
        assert!(
            revoked >= 8,
            "{name}: too few revocations during the fault: {revoked}, {report:?}"
        );
        assert!(
            refused.iter().all(|refused| *refused >= revoked),
            "{name}: {refused:?}, {report:?}"
        );
        // Servers that did not receive notifications do so again.
        self.until_live();
        format!("{summary}; {revoked} revoked during the fault, then refused {refused:?} times")
    }
}

/// Revokes a session on the server with this index; returns whether the server confirmed it.
pub type Revocation<'a> = dyn Fn(usize) -> bool + Sync + 'a;

pub fn with_cookie(server: &Server, cookie: &str) -> Browser {
    let mut browser = server.browser();
    browser.cookies.insert("session".to_owned(), cookie.to_owned());
    browser
}

/// Submits a form; returns whether the response is 303.
pub fn post_succeeds(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> bool {
    let headers =
        [("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "same-origin")];
    let response = browser.try_send("POST", path, &headers, &encode(fields));
    response.is_ok_and(|response| response.status == 303)
}

/// Asserts that the report has no violations; returns its figures.
pub fn checked_summary(name: &str, report: &Report) -> String {
    let summary = format!(
        "{name}: {} sessions, {} revocations (p50 {:?}, p99 {:?}, slowest {:?}), {} accepted, {} refused, {} unavailable, {} began after a revocation: {} violations",
        report.sessions,
        report.revocations,
        report.revocation_p50,
        report.revocation_p99,
        report.slowest_revocation,
        report.accepted,
        report.refused,
        report.unavailable,
        report.after_revocation,
        report.violations.len()
    );
    assert!(report.violations.is_empty(), "{name}: {:#?}", report.violations);
    assert!(report.after_revocation > 0 && report.accepted > 0, "{name}: {report:?}");
    summary
}

#[test]
fn ten_thousand_sign_outs_are_final_on_two_and_three_servers() {
    for servers in [2, 3] {
        let cluster = Cluster::new(servers);
        let cookies = cluster.database.db_create_sessions(EMAIL, 5000);
        let history = History::default();
        cluster.sign_out_all(&history, &cookies, &AtomicBool::new(false));
        let report = history.check();
        println!("{}", checked_summary(&format!("{servers} healthy servers"), &report));
        assert_eq!(report.revocations, 5000);
    }
}

#[test]
fn sign_out_is_final_while_a_listen_connection_is_killed_reset_half_open_or_stalled() {
    let cluster = Cluster::new(2);
    // Each time the cache is live again.
    let each_second = |fault: &dyn Fn()| {
        for _ in 0..5 {
            fault();
            std::thread::sleep(Duration::from_secs(1));
        }
    };
    let summary = cluster.sign_out_during(
        "listener killed by pg_terminate_backend",
        |cluster| each_second(&|| drop(cluster.database.db_texts(TERMINATE))),
        |_| {},
    );
    println!("{summary}");
    let summary = cluster.sign_out_during(
        "listener reset",
        |cluster| each_second(&|| cluster.proxies[1].reset()),
        |_| {},
    );
    println!("{summary}");
    assert!(cluster.servers[1].log().contains("reset by peer"), "{}", cluster.servers[1].log());
    for (name, link) in
        [("listener half-open", Link::BlackHole), ("listener stalled", Link::Stalled)]
    {
        let summary = cluster.sign_out_during(
            name,
            |cluster| cluster.proxies[1].set(link),
            |cluster| {
                cluster.proxies[1].set(Link::Up);
                cluster.proxies[1].reset();
            },
        );
        println!("{summary}");
    }
}

/// A client that waits for the paused server is blocked. So sessions are revoked on the other server, and
/// each is then used on the paused one, which answers once it continues.
#[test]
fn sign_out_is_final_while_a_server_is_paused_for_ten_seconds() {
    let (cluster, history) = (Cluster::new(2), History::default());
    let cookies = cluster.database.db_create_sessions(EMAIL, 200);
    for (session, cookie) in cookies.iter().enumerate() {
        (0..2).for_each(|server| cluster.request_page(&history, session, server, cookie));
    }
    let (history, cluster, cookies) = (&history, &cluster, &cookies);
    let stopped = Instant::now();
    cluster.servers[1].signal("STOP");
    let continued = std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for session in (thread..cookies.len()).step_by(8) {
                    let cookie = cookies[session].as_str();
                    cluster.revoke(history, session, 0, &|server| cluster.sign_out(server, cookie));
                    scope.spawn(move || cluster.request_page(history, session, 1, cookie));
                    cluster.request_page(history, session, 0, cookie);
                }
            });
        }
        std::thread::sleep(Duration::from_secs(10));
        let continued = Instant::now();
        cluster.servers[1].signal("CONT");
        continued
    });
    println!("{}", checked_summary("server stopped and continued", &history.check()));
    assert_eq!(history.during(stopped..continued, 2), (200, vec![200, 200]));
}

/// A statement in psql does not wait for servers, so each server may take as long as its lease to learn of
/// it.
#[test]
fn a_session_revoked_in_psql_is_refused_within_the_lease_despite_listener_failures() {
    let cluster = Cluster::new(2);
    let (proxy, server) = (&cluster.proxies[1], &cluster.servers[1]);
    for (name, rounds, fault) in [
        ("healthy", 50, &(|| ()) as &dyn Fn()),
        ("listener killed by pg_terminate_backend", 5, &|| {
            drop(cluster.database.db_texts(TERMINATE))
        }),
        ("listener reset", 5, &|| proxy.reset()),
        ("listener half-open", 3, &|| proxy.set(Link::BlackHole)),
        ("listener stalled", 3, &|| proxy.set(Link::Stalled)),
        ("server stopped for 10 s", 1, &|| server.signal("STOP")),
    ] {
        for statement in IN_PSQL {
            let round = |_| {
                let took = cluster.time_until_refused(name, statement, fault, &|| {
                    if name.starts_with("server") {
                        std::thread::sleep(Duration::from_secs(10));
                        server.signal("CONT");
                    }
                });
                proxy.set(Link::Up);
                proxy.reset();
                took
            };
            let mut took: Vec<Duration> = (0..rounds).map(round).collect();
            took.sort();
            println!(
                "{} in psql, {name}: refused by both servers after p50 {:?}, p99 {:?}, slowest {:?}",
                &statement[..6],
                took[took.len() / 2],
                took[took.len() * 99 / 100],
                took[took.len() - 1],
            );
        }
    }
}

#[test]
fn a_second_sign_out_is_answered_only_after_the_session_is_refused_everywhere() {
    let cluster = Cluster::new(3);
    let cookie = cluster.database.db_create_sessions(EMAIL, 1).remove(0);
    let mut browsers = cluster.browsers(&cookie);
    assert!(browsers.iter_mut().all(Browser::is_signed_in));
    let rows = "SELECT count(*) FROM sessions";
    let before = cluster.database.db_count(rows);
    cluster.proxies[2].set(Link::BlackHole);
    let (mut first, mut second) = (browsers[0].clone(), browsers[1].clone());
    std::thread::scope(|scope| {
        let first = scope.spawn(move || first.post("/logout", &[]).status);
        while cluster.database.db_count(rows) == before {}
        assert_eq!(second.post("/logout", &[]).status, 303);
        assert_ne!(
            browsers[2].get("/account/profile").status,
            200,
            "accepted by the server without notifications"
        );
        assert_eq!(first.join().unwrap(), 303);
    });
    let asked = cluster.database.db_count(ASKED);
    let mut signed_out = cluster.servers[0].browser();
    signed_out.cookies.insert("session".to_owned(), "made up".to_owned());
    assert_eq!(signed_out.post("/logout", &[]).status, 303);
    assert_eq!(
        cluster.database.db_count(ASKED),
        asked,
        "a client without a session asks no server"
    );
}

#[test]
fn sign_out_waits_at_most_one_lease_after_the_database_clock_was_set_back() {
    let (server, database) = site();
    let mut browser = registered(&server, EMAIL);
    // The lease of a server that was killed while the clock was an hour ahead.
    let lease = "INSERT INTO session_caches (id, trusted_until) VALUES (gen_random_uuid(), now() + interval '1 hour')";
    database.runtime.block_on(sqlx::query(lease).execute(&database.pool)).unwrap();
    let began = Instant::now();
    assert_eq!(browser.post("/logout", &[]).status, 303);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(3), "the sign-out did not wait: {took:?}");
    // Less than the hour that the lease seems to last, even if the machine is busy.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn sign_out_is_final_while_postgresql_restarts() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = new_folder("restarts");
    let settings = [("fsync", "off"), ("max_connections", "200")];
    let start = || runtime.block_on(PostgreSql::start_with(&folder, &settings)).unwrap();
    let running = std::sync::Mutex::new(Some(start()));
    let url = running.lock().unwrap().as_ref().unwrap().url().to_owned();
    let database = Database::connect(&url);
    database.runtime.block_on(migrations::run(&database.pool)).unwrap();
    let cluster = Cluster::on(database, 2);
    let restart = || {
        let postgresql = running.lock().unwrap().take().unwrap();
        runtime.block_on(postgresql.stop()).unwrap();
        *running.lock().unwrap() = Some(start());
    };
    let summary = cluster.sign_out_during("postgresql restarted", |_| restart(), |_| {});
    println!("{summary}");
    for statement in IN_PSQL {
        let took = cluster.time_until_refused("postgresql restarted", statement, &restart, &|| ());
        println!("{} in psql, postgresql restarted: refused after {took:?}", &statement[..6]);
    }
    drop(cluster);
    let postgresql = running.lock().unwrap().take().unwrap();
    runtime.block_on(postgresql.stop()).unwrap();
}
