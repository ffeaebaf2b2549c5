//! When the answer to a logout is there, no server lets that session in: over thousands of sessions, with
//! servers healthy, deaf, cut off, held and stopped. Every request is written down, and a judge reads it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use frontdesk::db::cluster::Cluster as PostgreSql;
use frontdesk::db::migrations;

use crate::support::browser::encode;
use crate::support::folder::new_folder;
use crate::support::history::{Event, History, Outcome, Report};
use crate::support::proxy::{Link, Proxy};
use crate::support::{Browser, Database, Server, registered, site};

pub const EMAIL: &str = "ada@example.com";
/// Ends the listeners of every server here.
pub const TERMINATE: &str = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
                          WHERE application_name = 'frontdesk feed' AND datname = current_database()";
/// What somebody does in psql to the newest session.
const BY_HAND: [&str; 2] = [
    "DELETE FROM sessions WHERE id = (SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1) RETURNING id::text",
    "UPDATE sessions SET expires_at = now() WHERE id = (SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1) RETURNING id::text",
];

/// Servers on one database; each hears of changes through a wire of its own.
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
            .map(|wire| {
                let url = database.url_through(wire);
                Server::start(&database, &[("FRONTDESK_LISTEN_URL", &url)]).until_live()
            })
            .collect::<Vec<Server>>();
        registered(&servers[0], EMAIL);
        Self { database, servers, proxies }
    }

    fn browsers(&self, cookie: &str) -> Vec<Browser> {
        self.servers.iter().map(|server| with_cookie(server, cookie)).collect()
    }

    /// Waits until every server serves from memory.
    pub fn trusted(&self) {
        for server in &self.servers {
            let began = Instant::now();
            while !server.browser().get("/readyz").body.contains("trusted") {
                assert!(began.elapsed() < Duration::from_secs(10), "{}", server.log());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Lets `fault` happen, does `by_hand` to a session that every server knows, and lets `then` happen; answers how long
    /// it took until each refused it.
    fn refused_by_hand(
        &self,
        name: &str,
        by_hand: &str,
        fault: &dyn Fn(),
        then: &dyn Fn(),
    ) -> Duration {
        self.trusted();
        let cookie = self.database.db_create_sessions(EMAIL, 1).remove(0);
        let mut browsers = self.browsers(&cookie);
        assert!(browsers.iter_mut().all(Browser::is_signed_in));
        fault();
        // Not by db_execute, which waits until it is known everywhere.
        assert_eq!(self.database.db_texts(by_hand).len(), 1);
        let began = Instant::now();
        then();
        for browser in &mut browsers {
            // 503 while the database is asked over a link that is down is no letting in. Judged by when it was asked: how
            // long the answer took on its way is no matter of the lease.
            let mut asked = began.elapsed();
            while browser.get("/account/profile").status == 200 {
                assert!(asked < Duration::from_millis(3100), "{name}: longer than a lease");
                asked = began.elapsed();
            }
        }
        began.elapsed()
    }

    /// Asks a server for a page with the cookie of a session, and writes down what it said.
    fn look(&self, history: &History, session: usize, server: usize, cookie: &str) {
        let mut browser = with_cookie(&self.servers[server], cookie);
        let began = Instant::now();
        let outcome = match browser.try_send("GET", "/account/profile", &[], "") {
            Ok(answer) if answer.status == 200 => Outcome::Accepted,
            Ok(answer) if answer.location().starts_with("/login") => Outcome::Refused,
            _ => Outcome::Unavailable,
        };
        history.record(Event { session, server, began, ended: Instant::now(), outcome });
    }

    /// Ends a session at a server. A 503 says nothing of it: asked again, as a person would.
    fn end(&self, history: &History, session: usize, server: usize, by: &Way<'_>) {
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

    /// By the button in the header.
    fn logs_out(&self, server: usize, cookie: &str) -> bool {
        posts(&mut with_cookie(&self.servers[server], cookie), "/logout", &[])
    }

    /// Lives the life of one session on every server and writes it down: known everywhere, asked for while it
    /// is ended, asked for afterwards.
    pub fn live(&self, history: &History, session: usize, cookie: &str, by: &Way<'_>) {
        let servers = self.servers.len();
        let look = |server| self.look(history, session, server, cookie);
        (0..servers).for_each(look);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for server in 0..servers {
                let (look, is_over) = (&look, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::SeqCst) {
                        look(server);
                    }
                });
            }
            self.end(history, session, session % servers, by);
            is_over.store(true, Ordering::SeqCst);
        });
        (0..servers).for_each(look);
    }

    /// Eight people at a time, for all of these sessions, or until `stop`.
    fn crowd(&self, history: &History, cookies: &[String], stop: &AtomicBool) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        let Some(cookie) = cookies.get(number) else { return };
                        let by = |server| self.logs_out(server, cookie);
                        self.live(history, number, cookie, &by);
                    }
                });
            }
        });
    }

    /// What happens while `fault` comes after a second and goes after five more.
    fn crowd_during(&self, name: &str, fault: impl Fn(&Self), mend: impl Fn(&Self)) -> String {
        let (stop, history) = (AtomicBool::new(false), History::default());
        // Made before anything breaks; more than can end in that time.
        let cookies = self.database.db_create_sessions(EMAIL, 10_000);
        let window = std::thread::scope(|scope| {
            let crowd = scope.spawn(|| self.crowd(&history, &cookies, &stop));
            std::thread::sleep(Duration::from_secs(1));
            let broken = Instant::now();
            fault(self);
            std::thread::sleep(Duration::from_secs(5).saturating_sub(broken.elapsed()));
            let mended = Instant::now();
            mend(self);
            std::thread::sleep(Duration::from_secs(2));
            stop.store(true, Ordering::SeqCst);
            crowd.join().expect("the crowd comes home");
            broken..mended
        });
        let report = history.check();
        let (ends, refused) = history.during(window, self.servers.len());
        let said = judged(name, &report);
        assert!(report.sessions < cookies.len(), "{name}: nobody was left to be ended");
        // One for each of the eight at least; a lease is the longest that an end waits.
        assert!(ends >= 8, "{name}: too few ended meanwhile to say anything: {ends}, {report:?}");
        assert!(refused.iter().all(|refused| *refused >= ends), "{name}: {refused:?}, {report:?}");
        // Whoever could not hear hears again.
        self.trusted();
        format!("{said}; {ends} ended while it lasted, then refused {refused:?} times")
    }
}

/// How a session is ended at a server; answers whether that was answered.
pub type Way<'a> = dyn Fn(usize) -> bool + Sync + 'a;

pub fn with_cookie(server: &Server, cookie: &str) -> Browser {
    let mut browser = server.browser();
    browser.cookies.insert("session".to_owned(), cookie.to_owned());
    browser
}

/// Sends a form; answers whether that was done.
pub fn posts(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> bool {
    let headers =
        [("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "same-origin")];
    let answer = browser.try_send("POST", path, &headers, &encode(fields));
    answer.is_ok_and(|answer| answer.status == 303)
}

pub fn judged(name: &str, report: &Report) -> String {
    let said = format!(
        "{name}: {} sessions, {} ends (p50 {:?}, p99 {:?}, slowest {:?}), {} let in, {} refused, {} unavailable, {} began after an end: {} violations",
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
    said
}

#[test]
fn ten_thousand_sign_outs_are_final_on_two_and_three_servers() {
    for servers in [2, 3] {
        let cluster = Cluster::new(servers);
        let cookies = cluster.database.db_create_sessions(EMAIL, 5000);
        let history = History::default();
        cluster.crowd(&history, &cookies, &AtomicBool::new(false));
        let report = history.check();
        println!("{}", judged(&format!("{servers} healthy servers"), &report));
        assert_eq!(report.revocations, 5000);
    }
}

#[test]
fn sign_out_is_final_while_a_listen_connection_is_killed_reset_half_open_or_stalled() {
    let cluster = Cluster::new(2);
    // Each time it is trusted again.
    let each_second = |fault: &dyn Fn()| {
        for _ in 0..5 {
            fault();
            std::thread::sleep(Duration::from_secs(1));
        }
    };
    let said = cluster.crowd_during(
        "listener killed by pg_terminate_backend",
        |cluster| each_second(&|| drop(cluster.database.db_texts(TERMINATE))),
        |_| {},
    );
    println!("{said}");
    let said = cluster.crowd_during(
        "listener reset",
        |cluster| each_second(&|| cluster.proxies[1].reset()),
        |_| {},
    );
    println!("{said}");
    assert!(cluster.servers[1].log().contains("reset by peer"), "{}", cluster.servers[1].log());
    for (name, wire) in
        [("listener half-open", Link::BlackHole), ("listener stalled", Link::Stalled)]
    {
        let said = cluster.crowd_during(
            name,
            |cluster| cluster.proxies[1].set(wire),
            |cluster| {
                cluster.proxies[1].set(Link::Up);
                cluster.proxies[1].reset();
            },
        );
        println!("{said}");
    }
}

/// Nobody who waits for a stopped server does anything else: sessions are ended at the other, and whoever was ended asks
/// the stopped one, which answers when it goes on.
#[test]
fn sign_out_is_final_while_a_server_is_paused_for_ten_seconds() {
    let (cluster, history) = (Cluster::new(2), History::default());
    let cookies = cluster.database.db_create_sessions(EMAIL, 200);
    for (session, cookie) in cookies.iter().enumerate() {
        (0..2).for_each(|server| cluster.look(&history, session, server, cookie));
    }
    let (history, cluster, cookies) = (&history, &cluster, &cookies);
    let stopped = Instant::now();
    cluster.servers[1].signal("STOP");
    let continued = std::thread::scope(|scope| {
        for person in 0..8 {
            scope.spawn(move || {
                for session in (person..cookies.len()).step_by(8) {
                    let cookie = cookies[session].as_str();
                    cluster.end(history, session, 0, &|server| cluster.logs_out(server, cookie));
                    scope.spawn(move || cluster.look(history, session, 1, cookie));
                    cluster.look(history, session, 0, cookie);
                }
            });
        }
        std::thread::sleep(Duration::from_secs(10));
        let continued = Instant::now();
        cluster.servers[1].signal("CONT");
        continued
    });
    println!("{}", judged("server stopped and continued", &history.check()));
    assert_eq!(history.during(stopped..continued, 2), (200, vec![200, 200]));
}

/// A row that is deleted or changed in psql: nobody waits for anybody then, so each server has its lease to learn of it.
#[test]
fn a_session_revoked_in_psql_is_refused_within_the_lease_despite_listener_failures() {
    let cluster = Cluster::new(2);
    let (wire, deaf) = (&cluster.proxies[1], &cluster.servers[1]);
    for (name, rounds, fault) in [
        ("healthy", 50, &(|| ()) as &dyn Fn()),
        ("listener killed by pg_terminate_backend", 5, &|| {
            drop(cluster.database.db_texts(TERMINATE))
        }),
        ("listener reset", 5, &|| wire.reset()),
        ("listener half-open", 3, &|| wire.set(Link::BlackHole)),
        ("listener stalled", 3, &|| wire.set(Link::Stalled)),
        ("server stopped for 10 s", 1, &|| deaf.signal("STOP")),
    ] {
        for by_hand in BY_HAND {
            let round = |_| {
                let took = cluster.refused_by_hand(name, by_hand, fault, &|| {
                    if name.starts_with("server") {
                        std::thread::sleep(Duration::from_secs(10));
                        deaf.signal("CONT");
                    }
                });
                wire.set(Link::Up);
                wire.reset();
                took
            };
            let mut took: Vec<Duration> = (0..rounds).map(round).collect();
            took.sort();
            println!(
                "{}… by hand, {name}: refused by both servers after p50 {:?}, p99 {:?}, slowest {:?}",
                &by_hand[..6],
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
        assert_ne!(browsers[2].get("/account/profile").status, 200, "let in by the deaf server");
        assert_eq!(first.join().unwrap(), 303);
    });
    let began = Instant::now();
    let mut stranger = cluster.servers[0].browser();
    stranger.cookies.insert("session".to_owned(), "made up".to_owned());
    assert_eq!(stranger.post("/logout", &[]).status, 303);
    assert!(began.elapsed() < Duration::from_secs(1), "a stranger waits for nobody");
}

#[test]
fn sign_out_waits_at_most_one_lease_after_the_database_clock_was_set_back() {
    let (server, database) = site();
    let mut browser = registered(&server, EMAIL);
    // A server that was killed an hour ahead of this clock.
    let lease = "INSERT INTO session_caches (id, trusted_until) VALUES (gen_random_uuid(), now() + interval '1 hour')";
    database.runtime.block_on(sqlx::query(lease).execute(&database.pool)).unwrap();
    let began = Instant::now();
    assert_eq!(browser.post("/logout", &[]).status, 303);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(3), "it did not wait: {took:?}");
    assert!(took < Duration::from_millis(3500), "{took:?}");
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
    let said = cluster.crowd_during("postgresql restarted", |_| restart(), |_| {});
    println!("{said}");
    for by_hand in BY_HAND {
        let took = cluster.refused_by_hand("postgresql restarted", by_hand, &restart, &|| ());
        println!("{}… by hand, postgresql restarted: refused after {took:?}", &by_hand[..6]);
    }
    drop(cluster);
    let postgresql = running.lock().unwrap().take().unwrap();
    runtime.block_on(postgresql.stop()).unwrap();
}
