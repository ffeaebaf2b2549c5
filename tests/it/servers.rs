//! The table of servers: what every server publishes about itself, what is said when servers differ, and the
//! key rotation of docs/RUNBOOK.md with two servers under load.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use frontdesk::config::SecretKeys;
use frontdesk::crypto::seal::Sealer;

use crate::mail::{frontdesk, reset};
use crate::support::breakpoint::until;
use crate::support::folder::new_folder;
use crate::support::mail::db_clear_rate_limits;
use crate::support::server::KEY;
use crate::support::{Browser, Database, Server, registered, runbook};

const NEW_KEY: &str = "Zp4Jq8Wm1Xc6Vb3Nn7Kt2Lr9Hs5Gf0DyAeUiOoPlQaSwEdRf";
const URL: &str = "http://localhost:8080";

fn key_id(key: &str) -> String {
    Sealer::new(SecretKeys::parse(key).unwrap().as_slice()).key_ids()[0].clone()
}

fn start(database: &Database, keys: &str) -> Server {
    let settings = [("FRONTDESK_SECRET_KEYS", keys), ("FRONTDESK_PUBLIC_URL", URL)];
    Server::start(database, &settings)
}

/// What `doctor` says about the running servers, with these keys in its own settings.
fn doctor(database: &Database, keys: &str) -> String {
    let settings = [("FRONTDESK_SECRET_KEYS", keys), ("FRONTDESK_PUBLIC_URL", URL)];
    let (_, out, error) = frontdesk(database, &settings, &["doctor"]);
    assert!(error.is_empty(), "{error}");
    out.lines().filter(|line| line.contains("  servers  ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_server_is_listed_until_it_stops_with_its_cache_on_or_off() {
    let database = Database::new();
    let cached = start(&database, &format!("{KEY},{NEW_KEY}")).until_live();
    let off = Server::start(&database, &[("FRONTDESK_SESSION_CACHE", "off")]);
    assert_eq!(
        database.db_texts(&format!(
            "SELECT array_to_string(key_ids, ' ') FROM servers WHERE process_id = {}",
            cached.child.id()
        )),
        [format!("{} {}", key_id(KEY), key_id(NEW_KEY))]
    );
    let states = "SELECT session_cache FROM servers ORDER BY started_at";
    assert_eq!(database.db_texts(states)[1], "off");
    let same = "SELECT count(*) FROM servers JOIN session_caches USING (id)";
    assert_eq!(database.db_count(same), 1, "the id is the same in both tables");
    let url = database.db_texts("SELECT public_url FROM servers ORDER BY started_at").remove(0);
    assert!(url.starts_with(URL), "{url}");
    database.db_execute(
        "INSERT INTO servers (id, version, host, process_id, public_url, key_ids, session_cache, last_seen_at)
         VALUES (gen_random_uuid(), '0', 'gone', 1, '', '{0123456789abcdef}', 'off', now() - interval '25 hours')",
    );
    let third = start(&database, KEY);
    assert_eq!(database.db_count("SELECT count(*) FROM servers WHERE host = 'gone'"), 0, "purged");
    for server in [cached, off, third] {
        server.stop();
    }
    assert_eq!(database.db_count("SELECT count(*) FROM servers"), 0);
}

#[test]
fn a_server_without_the_key_of_another_is_named_by_doctor_readyz_and_log() {
    let database = Database::new();
    let old = start(&database, KEY);
    assert!(doctor(&database, KEY).starts_with("ok"), "{}", doctor(&database, KEY));
    assert!(old.browser().get("/readyz").body.contains("\"servers\":\"ok\""));
    let new = start(&database, &format!("{NEW_KEY},{KEY}"));
    let id = database
        .db_texts(&format!("SELECT id::text FROM servers WHERE process_id = {}", old.child.id()));
    for server in [&old, &new] {
        let response = server.browser().get("/readyz");
        assert_eq!(response.status, 200);
        let missing = format!("Phase 1 of the key rotation is missing on {}", id[0]);
        assert!(response.body.contains(&missing), "{}", response.body);
        assert!(response.body.contains(&key_id(NEW_KEY)), "{}", response.body);
    }
    let process = format!("(process {}): the key ", old.child.id());
    let found = doctor(&database, &format!("{NEW_KEY},{KEY}"));
    assert!(found.contains(&process) && found.starts_with("warning"), "{found}");
    until(|| [&old, &new].iter().all(|server| server.log().contains(&process)));
    // These settings are those of a server that would be started next.
    let third = "Mn3Bv7Cx1Zl5Kj9Hg2Fd6Sa4Po8Iu0YtReWqAzSxDcFvGbHn";
    assert!(doctor(&database, third).contains("the settings of this command"));
}

#[test]
fn servers_with_different_public_urls_on_one_schema_are_reported_by_log_and_doctor() {
    let database = Database::new();
    let first = start(&database, KEY);
    assert!(!first.log().contains("different public URLs"), "{}", first.log());
    let second = Server::start(&database, &[("FRONTDESK_PUBLIC_URL", "http://localhost:8081")]);
    until(|| second.log().contains("different public URLs"));
    let found = doctor(&database, KEY);
    assert!(found.contains("http://localhost:8081/ on"), "{found}");
    assert!(second.browser().get("/readyz").body.contains("different public URLs"));
    until(|| first.log().contains("different public URLs"));
}

#[test]
fn a_mail_is_left_to_a_server_that_has_its_key() {
    let database = Database::new();
    let folder = new_folder("mail-of-a-rotation");
    let mail_dir = folder.to_str().unwrap();
    let settings = |keys| [("FRONTDESK_SECRET_KEYS", keys), ("FRONTDESK_MAIL_DIR", mail_dir)];
    let without = Server::start(&database, &settings(NEW_KEY));
    database.db_enqueue("ada@example.com", &reset("Ada"));
    // As the previous version inserts it.
    database.db_enqueue("bob@example.com", &reset("Bob"));
    database.db_execute(
        "UPDATE mail_outbox SET sealed_with = NULL WHERE recipient = 'bob@example.com'",
    );
    // The other mail may be noted at any time, as one that no running server can decrypt.
    let tried = "SELECT count(*) FROM mail_outbox WHERE last_error LIKE 'it cannot be decrypted%'";
    until(|| database.db_count(tried) == 1);
    assert_eq!(database.db_mails("waiting"), 2, "{}", without.log());
    let attempts = "SELECT sum(attempts)::bigint FROM mail_outbox WHERE sealed_with IS NOT NULL";
    assert_eq!(database.db_count(attempts), 0);
    let found = doctor(&database, NEW_KEY);
    assert!(found.contains("1 mail(s) wait for a server with the key"), "{found}");
    database.db_execute("UPDATE mail_outbox SET next_attempt_at = now() WHERE attempts > 0");
    let _with = Server::start(&database, &settings(KEY));
    until(|| database.db_count("SELECT count(*) FROM mail_outbox WHERE state = 'sent'") >= 1);
    // Stopped first, because it would otherwise take the mail without the name of its key once more.
    drop(without);
    database.db_execute("UPDATE mail_outbox SET next_attempt_at = now() WHERE state = 'waiting'");
    until(|| database.db_mails("sent") == 2);
    assert_eq!(database.db_mails("failed"), 0);
}

/// Two servers whose settings are files, as in the runbook, and addresses that change at each restart.
struct Fleet<'d> {
    database: &'d Database,
    folders: [PathBuf; 2],
    servers: Mutex<[Option<Server>; 2]>,
    addresses: Mutex<[String; 2]>,
}

impl<'d> Fleet<'d> {
    fn new(database: &'d Database, root: &Path) -> Self {
        let folders = ["one", "two"].map(|name| root.join(name));
        for folder in &folders {
            fs::create_dir_all(folder).unwrap();
            let settings = format!(
                "DATABASE_URL='{}'\nFRONTDESK_SECRET_KEYS='{KEY}'\nFRONTDESK_PUBLIC_URL={URL}\nFRONTDESK_MAIL_DIR='{}'\n",
                database.server_url,
                root.join("mail").display()
            );
            fs::write(folder.join(".env"), settings).unwrap();
        }
        let fleet = Self {
            database,
            folders,
            servers: Mutex::new([None, None]),
            addresses: Mutex::default(),
        };
        (0..2).for_each(|number| fleet.restart(number));
        fleet
    }

    /// Restarts a server with the keys of its file.
    fn restart(&self, number: usize) {
        let file = fs::read_to_string(self.folders[number].join(".env")).unwrap();
        let keys = file.lines().find_map(|line| line.strip_prefix("FRONTDESK_SECRET_KEYS='"));
        let keys = keys.unwrap().trim_end_matches('\'');
        let mail_dir = self.folders[number].parent().unwrap().join("mail");
        let settings = [
            ("FRONTDESK_SECRET_KEYS", keys),
            ("FRONTDESK_PUBLIC_URL", URL),
            ("FRONTDESK_MAIL_DIR", mail_dir.to_str().unwrap()),
        ];
        let former = self.servers.lock().unwrap()[number].take();
        // Its port may soon be that of a server of another test.
        self.addresses.lock().unwrap()[number].clear();
        drop(former.map(Server::stop));
        let server = Server::start(self.database, &settings);
        self.addresses.lock().unwrap()[number] = server.addr.clone();
        self.servers.lock().unwrap()[number] = Some(server);
    }

    fn browser(&self, number: usize) -> Browser {
        Browser::new(&self.addresses.lock().unwrap()[number])
    }
}

#[test]
fn the_key_rotation_of_the_runbook_signs_no_user_out_and_loses_no_mail() {
    let database = Database::new();
    let root = new_folder("key-rotation");
    let stubs = root.join("bin");
    fs::create_dir_all(&stubs).unwrap();
    // A restart is done by the test after the commands of a step.
    fs::write(stubs.join("systemctl"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(stubs.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_frontdesk")).parent().unwrap();
    let path = format!("{}:{}:{}", stubs.display(), binary.display(), env!("PATH"));
    let fleet = &Fleet::new(&database, &root);
    let users: Vec<Browser> = (0..3)
        .map(|number| {
            registered(fleet.servers.lock().unwrap()[0].as_ref().unwrap(), &email(number))
        })
        .collect();
    let (is_over, mails) = (AtomicBool::new(false), AtomicUsize::new(0));
    // How many each browser has opened.
    let pages: [AtomicUsize; 3] = Default::default();
    std::thread::scope(|scope| {
        for (mut browser, pages) in users.into_iter().zip(&pages) {
            let is_over = &is_over;
            scope.spawn(move || {
                for turn in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    browser.addr = fleet.addresses.lock().unwrap()[turn % 2].clone();
                    // A server that is being restarted does not answer.
                    let Ok(page) = browser.try_send("GET", "/account/profile", &[], "") else {
                        continue;
                    };
                    assert_ne!(page.status, 303, "signed out by server {}", turn % 2);
                    pages.fetch_add(usize::from(page.status == 200), Ordering::SeqCst);
                }
            });
        }
        let mail = |number: usize| {
            db_clear_rate_limits(&database);
            let email = email(number);
            let fields = [("email", email.as_str())];
            assert_eq!(fleet.browser(number % 2).post("/forgot-password", &fields).status, 303);
            mails.fetch_add(1, Ordering::SeqCst);
        };
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut said = HashMap::new();
            for step in runbook::steps("Key rotation") {
                let restarts = step.commands.contains("systemctl restart");
                // Between two restarts, each browser opens a page on each server.
                let before = pages.each_ref().map(|pages| pages.load(Ordering::SeqCst));
                until(|| {
                    let mut both = before.iter().zip(&pages);
                    both.all(|(before, now)| now.load(Ordering::SeqCst) >= before + 2)
                });
                for number in 0..if restarts { 2 } else { 1 } {
                    let output = step.run(&fleet.folders[number], &[("PATH", &path)]);
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    // The PostgreSQL of the tests runs without fsync, which doctor calls a problem.
                    let is_doctor = step.commands.contains("frontdesk doctor");
                    let is_done = output.status.success() || is_doctor;
                    assert!(is_done, "{step:?}: {}", text(&output.stderr));
                    said.insert((step.number, number), text(&output.stdout));
                    if step.number == 1 {
                        fs::copy(
                            fleet.folders[0].join("new-key"),
                            fleet.folders[1].join("new-key"),
                        )
                        .unwrap();
                    }
                    if restarts {
                        fleet.restart(number);
                        (0..2).for_each(&mail);
                    }
                }
            }
            said
        }));
        is_over.store(true, Ordering::SeqCst);
        let said = said.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        for check in [3, 5] {
            assert!(said[&(check, 0)].contains("Running with the same keys"), "{said:?}");
        }
    });
    let keys = "SELECT count(DISTINCT key_ids) FROM servers WHERE cardinality(key_ids) = 1";
    assert_eq!(database.db_count(keys), 1, "the old key is gone");
    let links = "SELECT count(*) FROM mail_outbox WHERE kind = 'reset_password' AND state = 'sent'";
    until(|| database.db_count(links) == mails.load(Ordering::SeqCst) as i64);
    assert_eq!(database.db_mails("failed"), 0);
    let count: usize = pages.iter().map(|pages| pages.load(Ordering::SeqCst)).sum();
    assert!(count > 100, "{pages:?}");
}

fn email(number: usize) -> String {
    format!("user{number}@example.com")
}
