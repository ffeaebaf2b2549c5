//! The command line: outputs, JSON and exit codes, as operators and their scripts see them.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::mail::db_mail;
use crate::support::port::free_addr;
use crate::support::server::KEY;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

pub struct Output {
    pub code: i32,
    pub out: String,
    pub error: String,
}

pub fn run(database: &Database, arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
    run_with_url(&database.url, arguments, input)
}

/// Like [`run`], with any DATABASE_URL.
pub fn run_with_url(url: &str, arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(arguments)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .envs([("DATABASE_URL", url), ("FRONTDESK_SECRET_KEYS", KEY)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_ref()).ok();
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.out)
        .unwrap_or_else(|error| panic!("{error}: {}{}", output.out, output.error))
}

#[test]
fn user_commands_create_disable_enable_and_change_an_account() {
    let (server, database) = site();
    let create = ["user", "create", "ada@example.com", "--name", "Ada", "--admin"];
    assert_eq!(run(&database, &create, "short\n").code, 2);
    assert!(run(&database, &create, "password\n").error.contains("most common passwords"));
    for input in [&b""[..], b"\n", b"\xff\xfe"] {
        let output = run(&database, &create, input);
        assert!(output.code == 2 && output.error.contains("password"), "{}", output.error);
    }
    let created = run(&database, &create, format!("{PASSWORD}\n"));
    assert_eq!(created.code, 0, "{}", created.error);
    assert_eq!(run(&database, &create, format!("{PASSWORD}\n")).code, 1, "taken");
    database.db_execute("UPDATE users SET email_verified_at = now()");
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

    for refused in ["", "\n", "short", "password", "ada@example.com"] {
        assert_eq!(run(&database, &["user", "set-password", &id], refused).code, 2, "{refused:?}");
    }
    assert!(browser.is_signed_in());
    assert_eq!(run(&database, &["user", "set-password", &id], OTHER_PASSWORD).code, 0);
    assert!(!browser.is_signed_in());
    let mail = db_mail(&database, "password_changed", 1);
    assert_eq!(
        (mail.data["by_reset"].as_bool(), mail.data["by_operator"].as_bool()),
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
    let unknown = run(&database, &["user", "show", "eve@example.com"], "");
    assert_eq!(unknown.code, 3);
    assert!(unknown.error.contains("No such account: eve@example.com"));
    assert_eq!(json(&run(&database, &["user", "list", "--json"], "")).as_array().unwrap().len(), 1);
    let events = database
        .db_texts("SELECT DISTINCT event FROM audit_events WHERE actor = 'operator' ORDER BY 1");
    assert_eq!(
        events,
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
fn session_commands_list_revoke_and_purge_sessions() {
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
    assert_eq!(run(&database, &["session", "revoke", "nonsense"], "").code, 2);
    assert_eq!(run(&database, &["session", "revoke"], "").code, 2);
    assert_eq!(run(&database, &["session", "revoke", "--all"], "").code, 2, "--yes is missing");
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
fn doctor_reports_problems_and_how_to_fix_them() {
    let database = Database::new();
    let report = json(&run(&database, &["doctor", "--json"], ""));
    // The tests' PostgreSQL runs without fsync; doctor must report that.
    let problems: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["verdict"] == "problem")
        .map(|finding| finding["what"].as_str().unwrap())
        .collect();
    assert_eq!(problems, ["safety"]);
    let empty = Database::empty();
    let output = run(&empty, &["doctor"], "");
    assert_eq!(output.code, 4);
    assert!(
        output.out.contains("frontdesk migrate run") && output.out.contains("Problems found."),
        "{}",
        output.out
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
    assert_eq!(run(&empty, &["migrate", "revert", "--all", "--yes"], "").code, 0);
    assert_eq!(run(&empty, &["migrate", "revert", "--yes"], "").code, 3);
}

#[test]
fn session_stats_prints_a_chart_and_json() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    database.db_create_sessions_seen("ada@example.com", 20, "10 minutes");
    let output = run(&database, &["session", "stats"], "");
    for part in ["Signed in 21", "5 to 30 minutes", "█", "Firefox on Linux", "MiB"] {
        assert!(output.out.contains(part), "{part}: {}", output.out);
    }
    let data = json(&run(&database, &["session", "stats", "--json"], ""));
    assert_eq!(data["signed_in"], 21);
    assert_eq!(data["last_seen"][2]["count"], 20);
}

#[test]
fn help_exits_with_0_and_wrong_usage_with_2() {
    let database = Database::empty();
    for arguments in [
        &["--help"][..],
        &["user", "--help"],
        &["session", "revoke", "--help"],
        &["migrate", "--help"],
        &["doctor", "--help"],
    ] {
        let output = run(&database, arguments, "");
        assert_eq!(output.code, 0);
        assert!(output.out.contains("Usage: frontdesk"), "{}", output.out);
    }
    assert!(run(&database, &["--help"], "").out.contains("Exit codes:"));
    assert_eq!(run(&database, &["user", "create", "a@b.example", "--password", "x"], "").code, 2);
}

#[test]
fn commands_wait_for_locks_longer_than_pages_do() {
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
        let slow = database.db_begin("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE");
        std::thread::scope(|scope| {
            let output = scope.spawn(|| run(&database, arguments, ""));
            // Longer than the statement timeout of pages.
            while database.db_count(waiting) == 0 {
                assert!(!output.is_finished(), "{arguments:?} timed out");
            }
            slow.rollback();
            let output = output.join().unwrap();
            assert_eq!(output.code, 0, "{arguments:?}: {}", output.error);
        });
    }
}

#[test]
fn metrics_report_the_cache_state_on_their_own_listener() {
    let database = Database::new();
    let bind = free_addr();
    let server = Server::start(&database, &[("FRONTDESK_METRICS_BIND", &bind)]).until_live();
    registered(&server, "ada@example.com").get("/account");
    let metrics = Browser::new(&bind).get("/metrics").body;
    for line in [
        "frontdesk_session_cache_state{state=\"trusted\"} 1",
        "frontdesk_session_cache_state{state=\"doubtful\"} 0",
        "frontdesk_session_lookups_total 1",
        "frontdesk_session_cache_entries 1",
        "frontdesk_session_feed_connections_total 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert_eq!(server.browser().get("/metrics").status, 404);
    drop(server);
    let off = Server::start(
        &database,
        &[("FRONTDESK_METRICS_BIND", &bind), ("FRONTDESK_SESSION_CACHE", "off")],
    );
    let metrics = Browser::new(&bind).get("/metrics").body;
    assert!(metrics.contains("state=\"off\"} 1"), "{metrics}");
    drop(off);
}

#[test]
fn a_failed_write_to_stdout_is_an_error_and_a_closed_pipe_is_not() {
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
    // Every write to /dev/full fails with ENOSPC.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = list(full.into()).wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot be written (No space left on device"), "{error}");

    let mut piped = list(Stdio::piped());
    drop(piped.stdout.take());
    assert_eq!(piped.wait().unwrap().code(), Some(0));
}
