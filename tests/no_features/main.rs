//! The program that was built without optional features. `script/without-features` builds it, starts a PostgreSQL, and
//! runs these tests.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[expect(dead_code, reason = "most helpers are used only by tests/it")]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use support::server::KEY;
use support::{Database, PASSWORD, Server};

const FOREIGN_HASH: &str =
    "bcrypt_sha256$$2b$05$EJHCRpFwpIodPI.o15pw4.r3h3NKRh.gOga8Xy0l1CcqukufJXn6.";

/// The exit code of a command and what it wrote to standard error.
fn frontdesk(arguments: &[&str], settings: &[(&str, &str)]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(arguments)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn settings_of_missing_features_end_every_command_and_are_named_together() {
    let settings = [
        ("FRONTDESK_METRICS_BIND", "127.0.0.1:0"),
        ("FRONTDESK_SMTP_URL", "smtps://mail.example.com"),
        ("FRONTDESK_MAIL_FROM", "desk@example.com"),
    ];
    for command in ["serve", "doctor"] {
        let (code, problems) = frontdesk(&[command], &settings);
        assert_eq!(code, 2, "{command}: {problems}");
        for problem in [
            "FRONTDESK_METRICS_BIND needs the feature metrics, which this program was built without. Remove the setting",
            "FRONTDESK_SMTP_URL needs the feature smtp, which this program was built without. Remove the setting",
            "DATABASE_URL must be set: a private PostgreSQL needs the feature private-postgres",
        ] {
            assert!(problems.contains(problem), "{command}: no {problem}\n{problems}");
        }
    }
    // In a file, too.
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smtp-url");
    std::fs::write(&file, "smtps://mail.example.com").unwrap();
    let settings = [("FRONTDESK_SMTP_URL_FILE", file.to_str().unwrap())];
    let (code, problems) = frontdesk(&["doctor"], &settings);
    assert!(code == 2 && problems.contains("FRONTDESK_SMTP_URL needs the feature"), "{problems}");
}

/// A new, empty folder.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::remove_dir_all(&folder).ok();
    folder
}

#[test]
fn without_features_users_sign_in_and_nothing_of_another_system_is_lost() {
    let url = std::env::var("DATABASE_URL").expect("script/without-features sets it");
    let folder = folder("no-features-mail");
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("FRONTDESK_SECRET_KEYS", KEY),
        ("FRONTDESK_MAIL_DIR", folder.to_str().unwrap()),
    ];
    let database = Database { server_url: url.clone() };
    let server = Server::start(&database, &settings[2..]);
    let mut ada = server.browser();
    ada.register("ada@example.com");
    assert!(ada.is_signed_in());

    // A mail goes to the folder.
    let (code, problems) = frontdesk(&["user", "reset", "ada@example.com"], &settings);
    assert_eq!(code, 0, "{problems}");
    let began = Instant::now();
    while !std::fs::read_dir(&folder).is_ok_and(|mut files| files.next().is_some()) {
        assert!(began.elapsed() < Duration::from_secs(30), "no mail:\n{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }

    // The hash of another system is kept, and answered like a wrong password.
    let wrong = server.browser().login("ada@example.com", "another corner with a lamp");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut connection = runtime.block_on(PgConnection::connect(&url)).unwrap();
    let change = sqlx::query("UPDATE users SET password_hash = $1").bind(FOREIGN_HASH);
    assert_eq!(runtime.block_on(change.execute(&mut connection)).unwrap().rows_affected(), 1);
    let right = server.browser().login("ada@example.com", PASSWORD);
    assert_eq!((right.status, right.body_without_tokens()), (422, wrong.body_without_tokens()));
    let stored = sqlx::query_scalar("SELECT password_hash FROM users");
    let stored: String = runtime.block_on(stored.fetch_one(&mut connection)).unwrap();
    assert_eq!(stored, FOREIGN_HASH);

    for command in ["import", "export"] {
        let (code, problems) = frontdesk(&["user", command, "people.csv"], &settings);
        let problem = format!("user {command} needs the feature import");
        assert!(code == 2 && problems.to_lowercase().contains(&problem), "{problems}");
    }
    let log = server.stop();
    assert!(log.contains("of another system, which needs the feature import"), "{log}");
}
