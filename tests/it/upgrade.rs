//! The previous release on today's schema: the contract of `migrations/README.md`, and the chapter of the
//! runbook about upgrades.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command_line::run;
use crate::database_unavailable::every_page;
use crate::support::folder::new_folder;
use crate::support::server::KEY;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered, runbook};

/// The binary of the previous release. `.ci/run` has built it.
pub fn previous() -> PathBuf {
    let built = Command::new("script/previous-release").output().unwrap();
    let error = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(built.status.success(), "{error}");
    PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
}

fn start(program: &Path, database: &Database) -> Server {
    let settings = [("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)];
    Server::start_program(program, &settings).unwrap_or_else(|log| panic!("{log}"))
}

fn assert_serves(server: &Server, browser: &Browser) {
    for (page, response) in every_page(server, browser) {
        let expected = if page == "POST wrong" { 422 } else { 499 };
        assert!(response.status <= expected, "{page}: {}\n{}", response.status, server.log());
        if page.starts_with("/account") || page == "POST login" || page == "POST profile" {
            assert!(response.status < 400, "{page}: {}\n{}", response.status, server.log());
        }
    }
}

#[test]
fn the_previous_release_keeps_serving_while_the_schema_is_migrated() {
    let database = Database::empty();
    let old = start(&previous(), &database);
    let ada = registered(&old, "ada@example.com");
    assert_serves(&old, &ada);
    let migrated = run(&database, &["migrate", "run"], "");
    assert_eq!(migrated.code, 0, "{}", migrated.error);
    assert_serves(&old, &ada);
    assert_eq!(old.browser().get("/readyz").status, 200);

    // Both versions serve the same sessions, and the end of a session counts on both.
    let new = start(Path::new(env!("CARGO_BIN_EXE_frontdesk")), &database).until_live();
    assert_serves(&new, &ada.on_server(&new.addr));
    for (one, other) in [(&old, &new), (&new, &old)] {
        let mut browser = one.browser();
        assert_eq!(browser.login("ada@example.com", PASSWORD).status, 303);
        let mut copy = browser.on_server(&other.addr);
        assert!(copy.is_signed_in());
        assert_eq!(browser.post("/logout", &[]).status, 303);
        assert!(!copy.is_signed_in());
    }
    let mut changing = old.browser();
    assert_eq!(changing.login("ada@example.com", PASSWORD).status, 303);
    let form = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    let changed = changing.post("/account/password", &form);
    assert!(changed.status < 400, "{}", changed.body);
    assert!(!ada.on_server(&new.addr).is_signed_in());
    assert_eq!(new.browser().login("ada@example.com", OTHER_PASSWORD).status, 303);
}

#[test]
fn the_previous_release_works_on_todays_tables() {
    let database = Database::new();
    let known = Command::new(previous())
        .args(["migrate", "info", "--json"])
        .env_clear()
        .envs([("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
        .output()
        .unwrap();
    let text = String::from_utf8(known.stdout).unwrap();
    // It may report a problem with the schema after the list.
    let mut steps = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
    let steps = steps.next().unwrap().unwrap();
    let known: Vec<String> =
        steps.as_array().unwrap().iter().map(|step| step["version"].to_string()).collect();
    assert!(known.len() > 10, "{text}");
    // The program before `breaking_migrations` refuses every schema with migrations that it does not know.
    database.db_execute(&format!(
        "DELETE FROM _sqlx_migrations WHERE version NOT IN ({})",
        known.join(", ")
    ));
    let old = start(&previous(), &database);
    let ada = registered(&old, "ada@example.com");
    assert_serves(&old, &ada);
}

#[test]
fn the_upgrade_and_the_rollback_of_the_runbook_work_as_written() {
    let database = Database::empty();
    let folder = new_folder("upgrade");
    fs::create_dir_all(&folder).unwrap();
    let binary = folder.join("frontdesk");
    fs::copy(previous(), &binary).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_frontdesk"), folder.join("frontdesk.new")).unwrap();
    let mut server = start(&binary, &database);
    let ada = registered(&server, "ada@example.com");
    let settings = [("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)];
    let mut restarts = 0;
    for step in runbook::steps("Upgrade and rollback") {
        let is_restart = step.commands.contains("systemctl restart frontdesk");
        let commands = step.commands.replace("systemctl restart frontdesk\n", "");
        let step = runbook::Step { number: step.number, commands };
        let output = step.run(&folder, &settings);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "step {}: {error}", step.number);
        if is_restart {
            drop(server);
            server = start(&binary, &database);
            restarts += 1;
        }
        // A newer server on a reverted schema answers 503 until it is replaced.
        if !step.commands.contains("migrate revert") {
            assert_serves(&server, &ada.on_server(&server.addr));
        }
    }
    assert_eq!(restarts, 2, "one for the upgrade, one for the rollback");
    fs::remove_dir_all(&folder).ok();
}
