//! Importing users from other systems: file formats, password hashes created by those systems, and rejected
//! lines.

mod files;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::rate_limit::hashes;
use crate::support::breakpoint::{Breakpoint, db_until_disconnected, until};
use crate::support::port::free_addr;
use crate::support::server::KEY;
use crate::support::{Database, PASSWORD, Server, site};

/// Name, the system that created the hash, password, hash.
type Fixture = [&'static str; 4];

const MANY: usize = 100_000;

fn fixtures() -> Vec<Fixture> {
    let lines = include_str!("fixtures/foreign_hashes.tsv").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect::<Vec<_>>().try_into().unwrap())
        .collect()
}

fn fixture(name: &str) -> Fixture {
    fixtures().into_iter().find(|fixture| fixture[0] == name).unwrap()
}

fn file(name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("user-files");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::remove_file(&path).ok();
    fs::write(&path, content).unwrap();
    path
}

fn start(database: &Database, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(arguments)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        // The application role is enough.
        .envs([("DATABASE_URL", database.server_url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(database: &Database, arguments: &[&str]) -> Output {
    start(database, arguments).wait_with_output().unwrap()
}

fn import(database: &Database, path: &Path, more: &[&str]) -> (i32, Value, String) {
    let arguments = [&["user", "import", path.to_str().unwrap(), "--json"], more].concat();
    let output = run(database, &arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    let counts = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"));
    (output.status.code().unwrap(), counts, error)
}

fn user_count(database: &Database) -> i64 {
    database.db_count("SELECT count(*) FROM users")
}

/// Peak resident memory in MiB.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

#[test]
fn a_hundred_thousand_users_of_each_system_are_imported_and_can_sign_in() {
    const SYSTEMS: [(&str, &[&str]); 10] = [
        ("django-pbkdf2-sha256-default", &[]),
        ("django-bcrypt-sha256", &[]),
        ("django-argon2", &[]),
        ("django-scrypt", &[]),
        ("devise-bcrypt", &[]),
        ("laravel-bcrypt-default-cost", &[]),
        ("node-bcryptjs-default-cost", &[]),
        ("node-scrypt-phc", &[]),
        ("better-auth", &["--hash-format", "better-auth"]),
        ("phc-argon2id-defaults", &[]),
    ];
    let (server, database) = site();
    // Two imports run at the same time.
    std::thread::scope(|threads| {
        for half in SYSTEMS.chunks(5) {
            let database = &database;
            threads.spawn(move || {
                for (name, options) in half {
                    println!("{}", import_many(database, name, options));
                }
            });
        }
    });
    for (name, _) in SYSTEMS {
        let [_, _, password, hash] = fixture(name);
        let email = format!("{}@{name}.example", MANY / 2);
        let sql = format!("SELECT password_hash FROM users WHERE email = '{email}'");
        let stored = || database.db_texts(&sql).remove(0);
        assert!(stored().ends_with(hash), "{name}");
        assert_eq!(server.browser().login(&email, "another password").status, 422, "{name}");
        assert!(stored().ends_with(hash), "{name}: a wrong password changes nothing");
        assert_eq!(
            server.browser().login(&email, password).status,
            303,
            "{name}: {}",
            server.log()
        );
        assert!(stored().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{name}");
        assert_eq!(server.browser().login(&email, password).status, 303, "{name}");
    }
    let all = 10 * MANY as i64;
    assert_eq!(user_count(&database), all);
    let events =
        "SELECT count(*) FROM audit_events WHERE event = 'imported' AND actor = 'operator'";
    assert_eq!(database.db_count(events), all);
}

/// Imports `MANY` users with the same hash. Returns a line with time and peak memory.
fn import_many(database: &Database, name: &str, options: &[&str]) -> String {
    let [_, system, _, hash] = fixture(name);
    let is_csv = options.is_empty();
    let mut text = String::from(if is_csv { "email,display_name,password_hash\n" } else { "" });
    for number in 0..MANY {
        let email = format!("{number}@{name}.example");
        if is_csv {
            writeln!(text, "{email},Ada {number},\"{hash}\"").unwrap();
        } else {
            writeln!(text, "{{\"email\":\"{email}\",\"password_hash\":\"{hash}\"}}").unwrap();
        }
    }
    let path = file(name, text);
    let began = Instant::now();
    let arguments = [&["user", "import", path.to_str().unwrap(), "--json"], options].concat();
    let mut child = start(database, &arguments);
    let mut memory = 0;
    while child.try_wait().unwrap().is_none() {
        memory = peak_memory(child.id()).unwrap_or(memory).max(memory);
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = began.elapsed().as_secs_f64();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{name}: {error}");
    let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(counts["with_password"], MANY, "{name}");
    assert!(memory < 80, "{name}: {memory} MiB");
    fs::remove_file(path).unwrap();
    format!("{name} ({system}): {MANY} in {took:.1} s, {memory} MiB")
}

#[test]
fn every_foreign_hash_signs_in_and_is_upgraded_to_argon2id() {
    let (server, database) = site();
    let mut text = String::new();
    for [name, _, _, hash] in fixtures() {
        let format = match name {
            "node-scrypt" => "node-scrypt",
            "better-auth" | "better-auth-nfkc" => "better-auth",
            _ => "named",
        };
        writeln!(
            text,
            "{{\"email\":\"{name}@example.com\",\"password_hash\":\"{hash}\",\"hash_format\":\"{format}\"}}"
        )
        .unwrap();
    }
    let (code, counts, error) = import(&database, &file("every", text), &[]);
    assert_eq!((code, counts["made"].as_u64()), (0, Some(fixtures().len() as u64)), "{error}");
    for [name, _, password, _] in fixtures() {
        let email = format!("{name}@example.com");
        assert_eq!(server.browser().login(&email, "another password").status, 422, "{name}");
        assert_eq!(server.browser().login(&email, password).status, 303, "{name}");
        assert_eq!(server.browser().login(&email, password).status, 303, "{name}, again");
    }
    let left =
        "SELECT email FROM users WHERE password_hash NOT LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'";
    assert!(database.db_texts(left).is_empty());
}

#[test]
fn a_concurrent_password_change_is_not_overwritten_by_a_hash_upgrade() {
    let (server, database) = site();
    let [_, _, password, hash] = fixture("django-pbkdf2-sha256-default");
    let path = file("race", format!("email,password_hash\nada@example.com,{hash}\n"));
    assert_eq!(import(&database, &path, &[]).0, 0);
    // An open transaction sets another password. The sign-in reads the old hash, and its upgrade waits for
    // the row lock.
    let mut change = database.runtime.block_on(PgConnection::connect(&database.url)).unwrap();
    let mut execute = |sql: &'static str| {
        let output = database.runtime.block_on(sqlx::query(sql).execute(&mut change));
        output.unwrap().rows_affected()
    };
    execute("BEGIN");
    let changed = execute(
        "UPDATE users SET password_hash = '$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$3zp2DpWvDTOmK5ZWM6yBPnMQhP1MfNnKSnAFhdOYUY0', password_changed_at = clock_timestamp()",
    );
    assert_eq!(changed, 1);
    let mut browser = server.browser();
    let sign_in = std::thread::spawn(move || browser.login("ada@example.com", password).status);
    let waiting = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%UPDATE users%'";
    until(|| database.db_count(waiting) == 1);
    execute("COMMIT");
    assert_ne!(sign_in.join().unwrap(), 303, "the password has changed");
    let stored = database.db_texts("SELECT password_hash FROM users");
    assert!(stored[0].contains("m=8,t=1,p=1"), "the old password came back");
    assert_eq!(server.browser().login("ada@example.com", password).status, 422);
}

#[test]
fn an_import_killed_three_times_and_rerun_creates_every_user_once() {
    const ALL: usize = 30_000;
    let database = Database::new();
    let [_, _, _, hash] = fixture("laravel-bcrypt");
    let mut text = String::from("email,password_hash\n");
    for number in 0..ALL {
        writeln!(text, "{number}@example.com,{hash}").unwrap();
    }
    let path = file("killed", text);
    for kill in 1..=3 {
        // In the middle of a batch.
        let row = format!("NEW.email = '{}@example.com'", kill * 6_000 + 250);
        let breakpoint = Breakpoint::db_where(&database, ("users", "BEFORE INSERT"), &row);
        let mut child = start(&database, &["user", "import", path.to_str().unwrap()]);
        breakpoint.until_reached(1);
        child.kill().unwrap();
        child.wait().unwrap();
        breakpoint.release();
        db_until_disconnected(&database);
        assert_eq!(user_count(&database), kill * 6_000, "whole batches");
        let events = "SELECT count(*) FROM audit_events WHERE event = 'imported'";
        assert_eq!(
            database.db_count(events),
            kill * 6_000,
            "user and audit event are inserted in the same transaction"
        );
    }
    let before = user_count(&database) as u64;
    let (code, counts, error) = import(&database, &path, &[]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(counts["made"].as_u64(), Some(ALL as u64 - before));
    assert_eq!(counts["already_there"].as_u64(), Some(before));
    let expected = ALL as i64;
    for count in [
        "SELECT count(*) FROM users",
        "SELECT count(DISTINCT email_canonical) FROM users",
        "SELECT count(*) FROM audit_events WHERE event = 'imported'",
        "SELECT count(DISTINCT user_id) FROM audit_events WHERE event = 'imported'",
    ] {
        assert_eq!(database.db_count(count), expected, "{count}");
    }
    let (code, counts, _) = import(&database, &path, &[]);
    assert_eq!((code, counts["made"].as_u64()), (3, Some(0)), "nothing to do");
}

#[test]
fn a_dry_run_reports_the_same_result_and_writes_nothing() {
    let (server, database) = site();
    server.browser().register("bob@example.com");
    let text = "email,role\nada@example.com,\nBOB@example.com,\nADA@EXAMPLE.com,\nnobody,\neve@example.com,admin\n";
    let path = file("dry", text);
    let whole = "SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM (
                 SELECT u::text FROM users u UNION ALL SELECT a::text FROM audit_events a) t";
    let before = database.db_texts(whole);
    let (code, dry, errors) = import(&database, &path, &["--dry-run"]);
    assert_eq!(database.db_texts(whole), before);
    assert_eq!(code, 1);
    let (_, real, real_errors) = import(&database, &path, &[]);
    for key in ["made", "with_password", "already_there", "rejected"] {
        assert_eq!(dry[key], real[key], "{key}");
    }
    assert_eq!(errors, real_errors);
    assert_eq!(
        (&real["made"], &real["already_there"], &real["rejected"]),
        (&1.into(), &1.into(), &3.into())
    );
    let (code, counts, _) = import(&database, &path, &["--allow-admins"]);
    assert_eq!((code, counts["made"].as_u64()), (1, Some(1)));
    let role = "SELECT role FROM users WHERE email = 'eve@example.com'";
    assert_eq!(database.db_texts(role), ["admin"]);
    assert_eq!(
        server.browser().login("bob@example.com", PASSWORD).status,
        303,
        "the existing account is unchanged"
    );
}

#[test]
fn a_right_and_a_wrong_password_for_a_foreign_hash_compute_as_many_hashes() {
    let database = Database::new();
    let metrics = free_addr();
    let server = Server::start(&database, &[("FRONTDESK_METRICS_BIND", &metrics)]);
    let [_, _, password, hash] = fixture("laravel-bcrypt");
    let mut text = String::from("email,password_hash\n");
    for number in 0..4 {
        writeln!(text, "{number}@example.com,{hash}").unwrap();
    }
    assert_eq!(import(&database, &file("hashes", text), &[]).0, 0);
    // The foreign hash is verified, and one of argon2id is computed: the new one, or one that is discarded.
    for number in 0..4 {
        let (typed, status) = [(password, 303), ("another password", 422)][number % 2];
        let before = hashes(&metrics);
        let response = server.browser().login(&format!("{number}@example.com"), typed);
        assert_eq!((response.status, hashes(&metrics) - before), (status, 1), "{typed}");
    }
}

#[test]
fn a_check_says_for_each_format_whether_a_known_password_matches() {
    let database = Database::new();
    let [_, _, password, django] = fixture("django-pbkdf2-sha256-default");
    let [_, _, _, node] = fixture("node-scrypt");
    let [_, _, _, bcrypt] = fixture("devise-bcrypt");
    // The salt is bytes, which were passed to crypto.scrypt and written in hex.
    let decoded = "8d0e247bd455b479a01ce3db30ab4b9a:b7a1f4b6caafa44ce3dae93f176d23a91f6dbeeeb07a3668cb296e2e55405337";
    let text = |node: &str| {
        format!(
            "email,password_hash,hash_format\na@example.com,{django},named\nb@example.com,{bcrypt},named\nc@example.com,{node},node-scrypt\n"
        )
    };
    let check = |name: &str, users: String, typed: &str| {
        let users = file(name, users);
        let typed = file(&format!("{name}.password"), format!("{typed}\n"));
        let paths = [&users, &typed].map(|path| path.to_str().unwrap());
        let output = run(&database, &["user", "import", paths[0], "--check", paths[1]]);
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, out) = check("good", text(node), password);
    assert_eq!(code, 0, "{out}");
    for line in [
        "pbkdf2_sha256: the password matches the hash on line 2",
        "matches the hash on line 3",
        "node_scrypt: the password matches the hash on line 4",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    let (code, out) = check("decoded", text(decoded), password);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("node_scrypt: the password does not match. The salt on line 4 is bytes"),
        "{out}"
    );
    assert!(out.contains("$scrypt$ln=14,r=8,p=1$salt$key"), "{out}");
    let (code, out) = check("wrong", text(node), "not the password");
    assert_eq!((code, out.matches("matches none of").count()), (1, 3), "{out}");
    assert!(!out.contains(password) && !out.contains("not the password"));
    assert_eq!(check("none", "email\na@example.com\n".to_owned(), password).0, 3);
    assert_eq!(run(&database, &["user", "import", "-", "--check", "-"]).status.code(), Some(2));
    assert_eq!(user_count(&database), 0, "a check writes nothing");
}
