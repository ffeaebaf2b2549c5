//! Random walks: three browsers use every flow over two servers, and after each step the site is compared
//! with a model: who is signed in as whom, which links work, which mail went to whom, and what the audit log
//! holds. A walk is determined by its seed.

mod compare;
mod model;
mod steps;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use model::Model;

use crate::support::{Browser, Database, Response, Server};

/// The number of walks. `.ci/long` runs more.
const WALKS: u64 = if is_long() { 100 } else { 20 };
const STEPS: usize = 80;

const fn is_long() -> bool {
    matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"long")
}

/// Two servers on one database.
struct Site {
    database: Database,
    servers: [Server; 2],
}

const SETTINGS: [(&str, &str); 2] =
    [("FRONTDESK_REGISTRATION", "verified"), ("FRONTDESK_PURGE_INTERVAL", "1s")];

impl Site {
    fn start() -> Self {
        let database = Database::new();
        let servers = [0, 1].map(|_| Server::start(&database, &SETTINGS).until_live());
        Self { database, servers }
    }

    /// Deletes what the walk before left.
    fn db_clear(&self) {
        for table in [
            "users",
            "sessions",
            "registrations",
            "recovery_requests",
            "mail_outbox",
            "audit_events",
            "throttles",
            "mail_limits",
        ] {
            self.database.db_execute(&format!("DELETE FROM {table}"));
        }
    }
}

/// The state of a pseudorandom generator (SplitMix64), so that a seed gives the same walk on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// One of the values, or `None` if there is none.
    fn pick<T: Copy>(&mut self, values: &[T]) -> Option<T> {
        (!values.is_empty()).then(|| values[self.below(values.len())])
    }
}

/// A walk in progress.
struct Walk<'s> {
    site: &'s mut Site,
    model: Model,
    random: Random,
    browsers: [Browser; 3],
    /// Copies of cookies whose session has a new secret since: no server accepts them.
    old_cookies: Vec<Browser>,
    /// The number in the model of each account, by its id in the database.
    accounts: HashMap<String, usize>,
    /// The id in the database of each session in the model.
    sessions: Vec<String>,
    /// Links that worked after the step before.
    working_links: HashSet<usize>,
    /// Whether a form of this step was refused.
    is_refused: bool,
    /// The last audit event that was compared.
    last_event: i64,
    log: Vec<String>,
}

impl<'s> Walk<'s> {
    fn new(site: &'s mut Site, seed: u64) -> Self {
        site.db_clear();
        let last_event = site.database.db_count("SELECT coalesce(max(id), 0) FROM audit_events");
        let browsers = [0, 1, 2].map(|_| site.servers[0].browser());
        Self {
            site,
            model: Model::default(),
            random: Random(seed),
            browsers,
            old_cookies: Vec::new(),
            accounts: HashMap::new(),
            sessions: Vec::new(),
            working_links: HashSet::new(),
            is_refused: false,
            last_event,
            log: Vec::new(),
        }
    }

    /// Sends a form from a browser to one of the servers.
    fn post(&mut self, browser: usize, path: &str, fields: &[(&str, &str)]) -> Response {
        let server = self.random.below(2);
        let addr = self.site.servers[server].addr.clone();
        let mut sender = self.browsers[browser].on_server(&addr);
        let before = sender.clone();
        let response = sender.post(path, fields);
        if before.session().is_some() && before.session() != sender.session() {
            self.old_cookies.push(before);
        }
        self.is_refused = response.status >= 400;
        self.browsers[browser] = sender;
        self.note(format!(
            "browser {browser}, server {server}: POST {path} {fields:?} → {}",
            response.status
        ));
        response
    }

    fn note(&mut self, what: String) {
        self.log.push(format!("{:3} {what}", self.model.step));
    }

    /// Takes a step and compares. `Err`: what differs.
    fn step(&mut self) -> Result<(), Vec<String>> {
        self.model.step += 1;
        self.model.mails.clear();
        self.model.events.clear();
        self.is_refused = false;
        self.site.database.db_execute("DELETE FROM throttles");
        // The model has no limits of mail.
        self.site.database.db_execute("DELETE FROM mail_limits");
        let mut differences = Vec::new();
        // Not every step is possible in every state.
        while !steps::take_any(self, &mut differences) {}
        self.compare(&mut differences);
        if differences.is_empty() { Ok(()) } else { Err(differences) }
    }
}

/// Runs one walk. Panics at the first difference.
fn walk(site: &mut Site, seed: u64) {
    let mut walk = Walk::new(site, seed);
    for _ in 0..STEPS {
        if let Err(differences) = walk.step() {
            panic!(
                "seed {seed}, step {}:\n{}\nafter the steps:\n{}",
                walk.model.step,
                differences.join("\n"),
                walk.log.join("\n")
            );
        }
    }
}

#[test]
fn random_walks_through_all_flows_match_the_model() {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut site = Site::start();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= WALKS {
                        break;
                    }
                    walk(&mut site, seed);
                }
                for server in &site.servers {
                    let log = server.log();
                    assert!(!log.contains("answered 50") && !log.contains("panicked"), "{log}");
                }
            });
        }
    });
}
