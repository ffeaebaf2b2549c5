//! The command line, as operators and their scripts meet it.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::mail::db_mail;
use crate::support::port::free_address;
use crate::support::server::KEY;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

pub struct Said {
    pub code: i32,
    pub out: String,
    pub error: String,
}

pub fn run(database: &Database, arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(arguments)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .envs([("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out)
        .unwrap_or_else(|error| panic!("{error}: {}{}", said.out, said.error))
}

#[test]
fn an_operator_makes_disables_and_enables_an_account() {
    let (server, database) = site();
    let create = ["user", "create", "ada@example.com", "--name", "Ada", "--admin"];
    assert_eq!(run(&database, &create, "short\n").code, 1);
    assert!(run(&database, &create, "password\n").error.contains("most common passwords"));
    let made = run(&database, &create, &format!("{PASSWORD}\n"));
    assert_eq!(made.code, 0, "{}", made.error);
    assert_eq!(run(&database, &create, &format!("{PASSWORD}\n")).code, 1, "taken");
    let mut browser = server.browser();
    assert_eq!(browser.login("ada@example.com", PASSWORD).status, 303);

    let shown = json(&run(&database, &["user", "show", "ADA@example.com", "--json"], ""));
    assert_eq!((shown["role"].as_str(), shown["sessions"].as_i64()), (Some("admin"), Some(1)));
    assert!(!shown.to_string().contains("argon2"));
    let id = shown["id"].as_str().unwrap().to_owned();

    assert_eq!(run(&database, &["user", "disable", &id], "").code, 0);
    assert!(!browser.is_signed_in());
    assert_eq!(browser.login("ada@example.com", PASSWORD).status, 422);
    assert_eq!(run(&database, &["user", "disable", &id], "").code, 3);
    assert_eq!(run(&database, &["user", "enable", &id], "").code, 0);
    assert_eq!(browser.login("ada@example.com", PASSWORD).status, 303);

    assert_eq!(run(&database, &["user", "set-password", &id], OTHER_PASSWORD).code, 0);
    assert!(!browser.is_signed_in());
    let told = db_mail(&database, "password_changed", 1);
    assert_eq!(
        (told.says["by_reset"].as_bool(), told.says["by_operator"].as_bool()),
        (Some(false), Some(true))
    );
    assert_eq!(browser.login("ada@example.com", OTHER_PASSWORD).status, 303);
    assert_eq!(run(&database, &["user", "promote", &id], "").code, 3, "was admin already");
    let demoted = run(&database, &["user", "promote", &id, "--demote"], "");
    assert_eq!(
        (demoted.code, demoted.out.as_str()),
        (0, "ada@example.com now has the role user and was signed out everywhere.\n")
    );
    assert!(!browser.is_signed_in());
    let nobody = run(&database, &["user", "show", "eve@example.com"], "");
    assert_eq!(nobody.code, 3);
    assert!(nobody.error.contains("No such account: eve@example.com"));
    assert_eq!(json(&run(&database, &["user", "list", "--json"], "")).as_array().unwrap().len(), 1);
    let by = database
        .db_texts("SELECT DISTINCT event FROM audit_events WHERE actor = 'operator' ORDER BY 1");
    assert_eq!(
        by,
        [
            "account_disabled",
            "account_enabled",
            "password_changed",
            "registered",
            "role_changed",
            "session_ended"
        ]
    );
}

#[test]
fn an_operator_lists_and_ends_sessions() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut bob = registered(&server, "bob@example.com");
    let listed = json(&run(&database, &["session", "list", "--json"], ""));
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let table = run(&database, &["session", "list", "--user", "ada@example.com"], "").out;
    assert!(table.contains("Firefox on Linux") && !table.contains("bob@"), "{table}");
    let id = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["email"] == "ada@example.com")
        .unwrap()["id"]
        .clone();
    let id = id.as_str().unwrap();
    assert_eq!(run(&database, &["session", "revoke", id], "").code, 0);
    assert!(!ada.is_signed_in() && bob.is_signed_in());
    assert_eq!(run(&database, &["session", "revoke", id], "").code, 3);
    assert_eq!(run(&database, &["session", "revoke", "nonsense"], "").code, 3);
    assert_eq!(run(&database, &["session", "revoke"], "").code, 2);
    assert_eq!(run(&database, &["session", "revoke", "--all"], "").code, 2, "nobody was asked");
    assert!(bob.is_signed_in());
    assert_eq!(run(&database, &["session", "revoke", "--user", "bob@example.com"], "").code, 0);
    assert!(!bob.is_signed_in());
    ada.login("ada@example.com", PASSWORD);
    assert_eq!(run(&database, &["session", "revoke", "--all", "--yes"], "").code, 0);
    assert!(!ada.is_signed_in());
    ada.login("ada@example.com", PASSWORD);
    database.db_execute("UPDATE sessions SET expires_at = now() - interval '2 hours'");
    let purged = json(&run(&database, &["session", "purge", "--json"], ""));
    assert_eq!(purged["deleted"], 1);
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let database = Database::new();
    let well = json(&run(&database, &["doctor", "--json"], ""));
    // The tests' PostgreSQL runs without fsync, and the doctor must notice.
    let problems: Vec<&str> = well["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["verdict"] == "problem")
        .map(|finding| finding["what"].as_str().unwrap())
        .collect();
    assert_eq!(problems, ["safety"]);
    let empty = Database::empty();
    let said = run(&empty, &["doctor"], "");
    assert_eq!(said.code, 4);
    assert!(
        said.out.contains("frontdesk migrate run") && said.out.contains("Problems found."),
        "{}",
        said.out
    );
    assert_eq!(run(&empty, &["user", "list"], "").code, 1);
    assert!(run(&empty, &["user", "list"], "").error.contains("frontdesk migrate run"));
    assert_eq!(run(&empty, &["migrate", "run"], "").code, 0);
    assert_eq!(run(&empty, &["migrate", "info"], "").code, 0);
    assert_eq!(
        json(&run(&empty, &["migrate", "info", "--json"], "")).as_array().unwrap().len(),
        fs::read_dir("migrations")
            .unwrap()
            .filter(|entry| entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .ends_with(".up.sql"))
            .count()
    );
    assert_eq!(run(&empty, &["migrate", "revert", "--all"], "").code, 0);
    assert_eq!(run(&empty, &["migrate", "revert"], "").code, 3);
}

#[test]
fn the_statistics_of_sessions_are_drawn_and_told_to_machines() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    database.db_sessions_seen("ada@example.com", 20, "10 minutes");
    let said = run(&database, &["session", "stats"], "");
    for part in ["Signed in 21", "5 to 30 minutes", "█", "Firefox on Linux", "MiB"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let data = json(&run(&database, &["session", "stats", "--json"], ""));
    assert_eq!(data["signed_in"], 21);
    assert_eq!(data["last_seen"][2]["count"], 20);
}

#[test]
fn help_reads_well_and_wrong_use_is_told() {
    let database = Database::empty();
    for arguments in [
        &["--help"][..],
        &["user", "--help"],
        &["session", "revoke", "--help"],
        &["migrate", "--help"],
        &["doctor", "--help"],
    ] {
        let said = run(&database, arguments, "");
        assert_eq!(said.code, 0);
        assert!(said.out.contains("Usage: frontdesk"), "{}", said.out);
    }
    assert!(run(&database, &["--help"], "").out.contains("Exit codes:"));
    assert_eq!(run(&database, &["user", "create", "a@b.example", "--password", "x"], "").code, 2);
}

#[test]
fn what_an_operator_asks_for_takes_as_long_as_it_takes() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    drop(server);
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                      AND wait_event_type = 'Lock' AND now() - query_start > interval '3 seconds'";
    for arguments in [
        &["session", "stats"][..],
        &["session", "purge"],
        &["session", "revoke", "--all", "--yes"],
        &["user", "delete", "ada@example.com", "--yes"],
    ] {
        let slow = database.db_hold("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE");
        std::thread::scope(|scope| {
            let said = scope.spawn(|| run(&database, arguments, ""));
            // Longer than a page would wait.
            while database.db_count(waiting) == 0 {
                assert!(!said.is_finished(), "{arguments:?} gave up");
            }
            slow.let_go();
            let said = said.join().unwrap();
            assert_eq!(said.code, 0, "{arguments:?}: {}", said.error);
        });
    }
}

#[test]
fn metrics_tell_the_state_of_the_cache_on_a_listener_of_their_own() {
    let database = Database::new();
    let bind = free_address();
    let server = Server::start(&database, &[("FRONTDESK_METRICS_BIND", &bind)]).trusts();
    registered(&server, "ada@example.com").get("/account");
    let told = Browser::new(&bind).get("/metrics").body;
    for line in [
        "frontdesk_session_cache_state{state=\"trusted\"} 1",
        "frontdesk_session_cache_state{state=\"doubtful\"} 0",
        "frontdesk_session_lookups_total 1",
        "frontdesk_session_cache_entries 1",
        "frontdesk_session_feed_connections_total 1",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert_eq!(server.browser().get("/metrics").status, 404);
    drop(server);
    let off = Server::start(
        &database,
        &[("FRONTDESK_METRICS_BIND", &bind), ("FRONTDESK_SESSION_CACHE", "off")],
    );
    let told = Browser::new(&bind).get("/metrics").body;
    assert!(told.contains("state=\"off\"} 1"), "{told}");
    drop(off);
}

#[test]
fn output_that_does_not_fit_on_a_full_disk_is_an_error_and_a_closed_pipe_is_none() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let list = |output: Stdio| {
        Command::new(env!("CARGO_BIN_EXE_frontdesk"))
            .args(["user", "list"])
            .env_clear()
            .envs([("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    // Linux's device that is always full.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let said = list(full.into()).wait_with_output().unwrap();
    let error = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot be written (No space left on device"), "{error}");

    let mut piped = list(Stdio::piped());
    drop(piped.stdout.take());
    assert_eq!(piped.wait().unwrap().code(), Some(0));
}
