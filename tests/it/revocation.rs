//! When the answer to a logout is there, no server lets that session in: over thousands of sessions, with
//! servers healthy, deaf, cut off, held and stopped. Every request is written down, and a judge reads it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use frontdesk::db::cluster::Cluster as PostgreSql;
use frontdesk::db::migrations;

use crate::support::history::{Event, History, Outcome, Verdict};
use crate::support::proxy::{Proxy, Wire};
use crate::support::{Browser, Database, Server, registered, site};

const EMAIL: &str = "ada@example.com";

/// Servers on one database; each hears of changes through a wire of its own.
struct Cluster {
    database: Database,
    servers: Vec<Server>,
    wires: Vec<Proxy>,
}

impl Cluster {
    fn new(count: usize) -> Self {
        Self::on(Database::new(), count)
    }

    fn on(database: Database, count: usize) -> Self {
        let wires: Vec<Proxy> = (0..count).map(|_| Proxy::start(database.socket())).collect();
        let servers = wires
            .iter()
            .map(|wire| {
                let url = database.url_through(wire);
                Server::start(&database, &[("FRONTDESK_LISTEN_URL", &url)]).trusts()
            })
            .collect::<Vec<Server>>();
        registered(&servers[0], EMAIL);
        Self { database, servers, wires }
    }

    fn browsers(&self, cookie: &str) -> Vec<Browser> {
        let browser = |server: &Server| {
            let mut browser = server.browser();
            browser.cookies.insert("session".to_owned(), cookie.to_owned());
            browser
        };
        self.servers.iter().map(browser).collect()
    }

    /// Lives the life of one session on every server and writes it down: known everywhere, asked for while it
    /// is ended, asked for afterwards.
    fn live(&self, history: &History, session: usize, cookie: &str) {
        let browsers = self.browsers(cookie);
        let look = |server: usize| {
            let mut browser = browsers[server].clone();
            let began = Instant::now();
            let outcome = match browser.try_send("GET", "/account/profile", &[], "") {
                Ok(answer) if answer.status == 200 => Outcome::LetIn,
                Ok(answer) if answer.location().starts_with("/login") => Outcome::Refused,
                _ => Outcome::Unavailable,
            };
            history.record(Event { session, server, began, ended: Instant::now(), outcome });
        };
        (0..browsers.len()).for_each(look);
        let ends_at = session % browsers.len();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for server in 0..browsers.len() {
                let (look, is_over) = (&look, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::SeqCst) {
                        look(server);
                    }
                });
            }
            let mut browser = browsers[ends_at].clone();
            let fields = [
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Sec-Fetch-Site", "same-origin"),
            ];
            let first = Instant::now();
            // A 503 says nothing of the session: asked again, as a person would.
            while !is_over.load(Ordering::SeqCst) && first.elapsed() < Duration::from_secs(30) {
                let began = Instant::now();
                let answer = browser.try_send("POST", "/logout", &fields, "");
                let ended = Instant::now();
                let outcome = match answer {
                    Ok(answer) if answer.status == 303 => Outcome::Ended,
                    _ => Outcome::Unavailable,
                };
                is_over.store(outcome == Outcome::Ended, Ordering::SeqCst);
                history.record(Event { session, server: ends_at, began, ended, outcome });
            }
            is_over.store(true, Ordering::SeqCst);
        });
        (0..browsers.len()).for_each(look);
    }

    /// Eight people at a time, for all of these sessions, or until `stop`.
    fn crowd(&self, cookies: &[String], stop: &AtomicBool) -> Verdict {
        let (next, history) = (AtomicUsize::new(0), History::default());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        let Some(cookie) = cookies.get(number) else { return };
                        self.live(&history, number, cookie);
                    }
                });
            }
        });
        history.judge()
    }

    /// What happens while `fault` comes after a second and goes after five more.
    fn crowd_during(&self, name: &str, fault: impl Fn(&Self), mend: impl Fn(&Self)) -> String {
        let stop = AtomicBool::new(false);
        // Made before anything breaks; more than can end in that time.
        let cookies = self.database.db_sessions(EMAIL, 5_000);
        let verdict = std::thread::scope(|scope| {
            let crowd = scope.spawn(|| self.crowd(&cookies, &stop));
            std::thread::sleep(Duration::from_secs(1));
            fault(self);
            std::thread::sleep(Duration::from_secs(5));
            mend(self);
            std::thread::sleep(Duration::from_secs(2));
            stop.store(true, Ordering::SeqCst);
            crowd.join().expect("the crowd comes home")
        });
        let said = judged(name, &verdict);
        assert!(verdict.ends > 20, "{name}: too few sessions ended to say anything: {verdict:?}");
        // Whoever could not hear hears again.
        for server in &self.servers {
            let began = Instant::now();
            while !server.browser().get("/readyz").body.contains("trusted") {
                assert!(began.elapsed() < Duration::from_secs(10), "{name}: {}", server.log());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        said
    }
}

fn judged(name: &str, verdict: &Verdict) -> String {
    let said = format!(
        "{name}: {} sessions, {} ends (p50 {:?}, p99 {:?}, slowest {:?}), {} let in, {} refused, {} unavailable, {} began after an end: {} violations",
        verdict.sessions,
        verdict.ends,
        verdict.ends_p50,
        verdict.ends_p99,
        verdict.slowest_end,
        verdict.let_in,
        verdict.refused,
        verdict.unavailable,
        verdict.after,
        verdict.violations.len()
    );
    assert!(verdict.violations.is_empty(), "{name}: {:#?}", verdict.violations);
    assert!(verdict.after > 0 && verdict.let_in > 0, "{name}: {verdict:?}");
    said
}

#[test]
fn ten_thousand_logouts_are_final_on_two_and_three_servers() {
    for servers in [2, 3] {
        let cluster = Cluster::new(servers);
        let cookies = cluster.database.db_sessions(EMAIL, 5000);
        let verdict = cluster.crowd(&cookies, &AtomicBool::new(false));
        println!("{}", judged(&format!("{servers} healthy servers"), &verdict));
        assert_eq!(verdict.ends, 5000);
    }
}

#[test]
fn a_logout_is_final_while_a_listener_is_cut_off_reset_half_open_or_stalled() {
    let cluster = Cluster::new(2);
    let said = cluster.crowd_during(
        "listener killed by pg_terminate_backend",
        |cluster| {
            cluster.database.db_execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE application_name = 'frontdesk feed' AND datname = current_database()",
            );
        },
        |_| {},
    );
    println!("{said}");
    let said = cluster.crowd_during("listener reset", |cluster| cluster.wires[1].reset(), |_| {});
    println!("{said}");
    for (name, wire) in [("listener half-open", Wire::Swallows), ("listener stalled", Wire::Stalls)]
    {
        let said = cluster.crowd_during(
            name,
            |cluster| cluster.wires[1].set(wire),
            |cluster| {
                cluster.wires[1].set(Wire::Good);
                cluster.wires[1].reset();
            },
        );
        println!("{said}");
    }
}

#[test]
fn a_logout_is_final_while_a_server_is_stopped_for_ten_seconds() {
    let cluster = Cluster::new(2);
    let said = cluster.crowd_during(
        "server stopped and continued",
        |cluster| {
            cluster.servers[1].signal("STOP");
            // Half of all requests go to it and wait; the others go on.
            std::thread::sleep(Duration::from_secs(5));
        },
        |cluster| cluster.servers[1].signal("CONT"),
    );
    println!("{said}");
}

/// A row that is deleted in psql: nobody waits for anybody then, so each server has its lease to learn of it.
#[test]
fn a_row_deleted_by_hand_is_refused_within_the_lease_whatever_happens_to_a_listener() {
    let cluster = Cluster::new(2);
    let trusted = || {
        for server in &cluster.servers {
            let began = Instant::now();
            while !server.browser().get("/readyz").body.contains("trusted") {
                assert!(began.elapsed() < Duration::from_secs(10), "{}", server.log());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    };
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                      WHERE application_name = 'frontdesk feed' AND datname = current_database()";
    let run = |sql: &'static str| {
        cluster
            .database
            .runtime
            .block_on(sqlx::query(sql).execute(&cluster.database.pool))
            .unwrap();
    };
    let (wire, deaf) = (&cluster.wires[1], &cluster.servers[1]);
    for (name, fault) in [
        ("healthy", &(|| ()) as &dyn Fn()),
        ("listener killed by pg_terminate_backend", &|| run(terminate)),
        ("listener reset", &|| wire.reset()),
        ("listener half-open", &|| wire.set(Wire::Swallows)),
        ("listener stalled", &|| wire.set(Wire::Stalls)),
        ("server stopped for 10 s", &|| deaf.signal("STOP")),
    ] {
        let mut took = Vec::new();
        let rounds = if name == "healthy" { 100 } else { 5 };
        for _ in 0..if name.starts_with("server") { 1 } else { rounds } {
            trusted();
            let cookie = cluster.database.db_sessions(EMAIL, 1).remove(0);
            let mut browsers = cluster.browsers(&cookie);
            assert!(browsers.iter_mut().all(Browser::is_signed_in));
            fault();
            run(
                "DELETE FROM sessions WHERE id = (SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1)",
            );
            let began = Instant::now();
            if name.starts_with("server") {
                std::thread::sleep(Duration::from_secs(10));
                deaf.signal("CONT");
                assert!(!browsers[1].is_signed_in(), "let in after it was continued");
            }
            for browser in &mut browsers {
                // 503 while the database is asked over a link that is down is no letting in. Judged by when it was
                // asked: how long the answer took on its way is no matter of the lease.
                let mut asked = began.elapsed();
                while browser.get("/account/profile").status == 200 {
                    assert!(asked < Duration::from_millis(3100), "{name}: longer than a lease");
                    asked = began.elapsed();
                }
            }
            took.push(began.elapsed());
            wire.set(Wire::Good);
            wire.reset();
        }
        took.sort();
        println!(
            "DELETE by hand, {name}: refused by both servers after p50 {:?}, p99 {:?}, slowest {:?}",
            took[took.len() / 2],
            took[took.len() * 99 / 100],
            took[took.len() - 1],
        );
    }
}

#[test]
fn a_second_click_on_sign_out_answers_no_sooner_than_the_session_is_over_everywhere() {
    let cluster = Cluster::new(3);
    let cookie = cluster.database.db_sessions(EMAIL, 1).remove(0);
    let mut browsers = cluster.browsers(&cookie);
    assert!(browsers.iter_mut().all(Browser::is_signed_in));
    let rows = "SELECT count(*) FROM sessions";
    let before = cluster.database.db_count(rows);
    cluster.wires[2].set(Wire::Swallows);
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
fn a_clock_of_the_database_that_was_set_back_makes_no_logout_wait_longer_than_a_lease() {
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
fn a_logout_is_final_while_postgresql_restarts() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("restarts");
    std::fs::remove_dir_all(&folder).ok();
    let settings = [("fsync", "off"), ("max_connections", "200")];
    let start = || runtime.block_on(PostgreSql::start_with(&folder, &settings)).unwrap();
    let running = std::sync::Mutex::new(Some(start()));
    let url = running.lock().unwrap().as_ref().unwrap().url().to_owned();
    let database = Database::at(&url);
    database.runtime.block_on(migrations::run(&database.pool)).unwrap();
    let cluster = Cluster::on(database, 2);
    let said = cluster.crowd_during(
        "postgresql restarted",
        |_| {
            let postgresql = running.lock().unwrap().take().unwrap();
            runtime.block_on(postgresql.stop()).unwrap();
            *running.lock().unwrap() = Some(start());
        },
        |_| {},
    );
    println!("{said}");
    drop(cluster);
    let postgresql = running.lock().unwrap().take().unwrap();
    runtime.block_on(postgresql.stop()).unwrap();
}
