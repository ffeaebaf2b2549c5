//! The names that a site defines, and the name of its program. With `tests/site`.

use std::process::Command;

use frontdesk::server::routes::PATHS;

use crate::support::breakpoint::until;
use crate::support::port::free_addr;
use crate::support::routes::routes;
use crate::support::server::{Server, Setting};
use crate::support::website::{program, run, start, try_start};
use crate::support::{Browser, Database};

const SITE: &str = "site-under-test";
const GREETING: Setting<'static> = ("SHOP_GREETING", "Hello");

/// The names of all commands of the program, with those below them.
fn commands(help: &str) -> Vec<String> {
    let (_, list) = help.split_once("Commands:\n").unwrap_or_default();
    let names = list.lines().take_while(|line| !line.is_empty());
    let names = names.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// A command of Frontdesk's program in a text: the name, followed by a word that is no number.
fn foreign_command<'a>(text: &'a str, commands: &[String]) -> Option<&'a str> {
    commands.iter().find_map(|command| {
        let at = text.find(&format!("frontdesk {command}"))?;
        text[at..].lines().next()
    })
}

#[test]
fn every_output_of_a_site_names_its_own_program() {
    let database = Database::empty();
    let run = |arguments: &[&str]| run(SITE, &database, arguments, &[GREETING]);
    let (_, help) = run(&["--help"]);
    assert!(help.starts_with("Shop 0.1.0, built on frontdesk "), "{help}");
    let (code, version) = run(&["--version"]);
    assert_eq!(code, Some(0), "{version}");
    assert!(version.starts_with("site-under-test 0.1.0 (Shop, built on frontdesk "), "{version}");
    let all = commands(&help);
    assert!(all.len() > 8, "{help}");
    let check = |arguments: &[&str], text: &str| {
        assert_eq!(foreign_command(text, &all), None, "{arguments:?}: {text}");
        assert!(!text.contains("Usage: frontdesk"), "{arguments:?}: {text}");
    };
    for command in &all {
        let (_, text) = run(&[command, "--help"]);
        check(&[command, "--help"], &text);
        for sub in commands(&text) {
            let (_, text) = run(&[command, &sub, "--help"]);
            check(&[command, &sub], &text);
            let (_, text) = run(&[command, &sub, "--no-such-option"]);
            check(&[command, &sub, "--no-such-option"], &text);
        }
    }
    let failures: [&[&str]; 16] = [
        &["no-such-command"],
        &["user", "list"],
        &["doctor"],
        &["migrate", "info"],
        &["migrate", "run"],
        &["migrate", "roles"],
        &["user", "create", "ada@example.com", "--name", "Ada"],
        &["user", "reset", "ada@example.com"],
        &["user", "invite", "bob@example.com", "--name", "Bob"],
        &["user", "set-email", "ada@example.com", "ida@example.com"],
        &["user", "disable", "ida@example.com"],
        &["user", "reset", "ida@example.com"],
        &["user", "require-new-password", "ida@example.com"],
        &["mail", "suppress", "ida@example.com"],
        &["mail", "unsuppress", "ida@example.com"],
        &["migrate", "revert", "--to", "7", "--yes"],
    ];
    for arguments in failures {
        let (_, text) = run(arguments);
        check(arguments, &text);
    }
    let (_, text) = run(&["migrate", "revert", "--yes"]);
    check(&["migrate", "revert"], &text);
    let (_, text) = run(&["user", "list"]);
    assert!(text.contains("Run `site-under-test migrate run`"), "{text}");
    let log = try_start(SITE, &database, &[GREETING, ("FRONTDESK_MIGRATE", "off")]).err();
    let log = log.expect("a migration is pending");
    assert!(log.contains("Run `site-under-test migrate run`"), "{log}");
    check(&["serve"], &log);
}

#[test]
fn routes_lists_who_may_ask_and_which_paths_of_frontdesk_a_pattern_matches_too() {
    let database = Database::empty();
    let (code, text) = run(SITE, &database, &["routes"], &[]);
    assert_eq!(code, Some(0), "{text}");
    let line = |path: &str| {
        let is_of = |line: &&str| line.split_whitespace().nth(1) == Some(path);
        text.lines().find(is_of).unwrap_or_else(|| panic!("{path}: {text}"))
    };
    for (path, part) in [
        ("/", " anyone "),
        ("/whoami", " signed in "),
        ("/recent", " recently authenticated "),
        ("/statistics", " administrators "),
        ("/editors", " members of a group "),
        ("/feed", " anyone, without session "),
        ("/{tail:.*}.txt", "also matches /robots.txt, which Frontdesk answers"),
    ] {
        assert!(line(path).contains(part), "{path}: {text}");
    }
    assert!(!line("/p{any}").contains("also matches") && !line("/feed").contains("also matches"));
    let table: Vec<String> = routes().into_iter().map(|route| route.path).collect();
    let mut listed: Vec<&str> = PATHS.to_vec();
    listed.retain(|path| !matches!(*path, "/robots.txt" | "/favicon.ico"));
    listed.sort_unstable();
    let mut table: Vec<&str> = table.iter().map(String::as_str).collect();
    table.sort_unstable();
    assert_eq!(listed, table);
}

#[test]
fn both_records_of_migrations_are_listed_by_name() {
    let database = Database::empty();
    let (code, text) = run(SITE, &database, &["migrate", "run"], &[GREETING]);
    assert_eq!(code, Some(0), "{text}");
    let (_, text) = run(SITE, &database, &["migrate", "info"], &[GREETING]);
    for line in ["site       20261201000001  ticks", "frontdesk  20261123000001"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (_, text) = run(SITE, &database, &["migrate", "info", "--json"], &[GREETING]);
    assert!(text.contains("\"ledger\": \"site\"") && text.contains("\"ledger\": \"frontdesk\""));
}

#[test]
fn a_migration_that_names_another_schema_than_the_one_in_force_is_an_error() {
    let database = Database::empty();
    let other = [("FRONTDESK_SCHEMA", "auth")];
    for arguments in [&["migrate", "run"][..], &["serve"]] {
        let (code, text) = run("notes", &database, arguments, &other);
        assert_eq!(code, Some(2), "{text}");
        for part in [
            " of migrations/20261201000001_notes.up.sql names the schema frontdesk",
            "frontdesk.users",
            "FRONTDESK_SCHEMA is auth",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    let tables = "SELECT count(*) FROM pg_class WHERE relname IN ('users', 'notes')";
    assert_eq!(database.db_count(tables), 0, "nothing was created");
    drop(start(SITE, &database, &[GREETING, other[0]]));
}

#[test]
fn doctor_counts_the_connections_of_the_site_and_its_jobs() {
    let database = Database::empty();
    let pools =
        [GREETING, ("FRONTDESK_DATABASE_POOL_SIZE", "20"), ("FRONTDESK_SITE_POOL_SIZE", "30")];
    // Four for the work of the jobs, and one for the lock of each; two for the events after a commit, and four for
    // each of their four hooks.
    let (_, text) = run(SITE, &database, &["doctor"], &pools);
    assert!(text.contains("Up to 73 of "), "{text}");
    let too_many = [GREETING, ("FRONTDESK_SITE_POOL_SIZE", "500")];
    let (_, text) = run(SITE, &database, &["doctor"], &too_many);
    let part = "FRONTDESK_SITE_POOL_SIZE is 500";
    assert!(text.contains(part) && text.contains("max_connections of PostgreSQL is"), "{text}");
    let (_, text) = run("notes", &database, &["doctor"], &[]);
    assert!(text.contains("Up to 20 of "), "{text}");
}

#[test]
fn the_program_is_named_as_it_was_called() {
    let folder = std::env::temp_dir().join(format!("frontdesk-program-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let link = folder.join("my-site");
    std::os::unix::fs::symlink(program(SITE), &link).unwrap();
    let output = Command::new(&link).args(["user", "--help"]).env_clear().output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("Usage: my-site user") && text.contains("  my-site user reset"),
        "{text}"
    );
}

#[test]
fn a_name_of_frontdesk_or_one_that_is_no_word_is_an_error_before_the_start() {
    let database = Database::empty();
    let server = start(SITE, &database, &[GREETING]);
    let metrics = free_addr();
    let with_metrics = Server::start(&Database::new(), &[("FRONTDESK_METRICS_BIND", &metrics)]);
    let text = Browser::new(&metrics).get("/metrics").body;
    let jobs: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("frontdesk_background_job_running{job=\""))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(jobs.len() > 5, "{text}");
    let refused = |name: &str, value: &str| {
        let (code, text) = run(SITE, &database, &["serve"], &[GREETING, (name, value)]);
        assert_eq!(code, Some(2), "{name}={value}: {text}");
        text
    };
    for job in jobs {
        let text = refused("SITE_JOB", job);
        let message = format!("The job {job} (src/work.rs:");
        assert!(text.contains(&message) && text.contains("of a job of Frontdesk"), "{text}");
    }
    let (_, help) = run(SITE, &database, &["--help"], &[GREETING]);
    let is_of_site = |command: &&String| ["count", "remind"].contains(&command.as_str());
    let mut of_frontdesk = commands(&help);
    of_frontdesk.retain(|command| !is_of_site(&command));
    assert!(of_frontdesk.len() > 5, "{help}");
    for command in of_frontdesk.iter().chain([&"help".to_owned()]) {
        let text = refused("SITE_COMMAND", command);
        let message = format!("The command {command} (src/work.rs:");
        assert!(text.contains(&message) && text.contains("of a command of Frontdesk"), "{text}");
    }
    for command in ["two words", "--option", ""] {
        assert!(refused("SITE_COMMAND", command).contains("must be one word"), "{command}");
    }
    drop((server, with_metrics));
}

#[test]
fn jobs_run_on_one_server_at_a_time_and_failures_and_panics_are_counted() {
    let database = Database::empty();
    let binds = [free_addr(), free_addr()];
    let servers = binds.each_ref().map(|bind| {
        let settings = [GREETING, ("SITE_JOBS", "1"), ("FRONTDESK_METRICS_BIND", bind)];
        start(SITE, &database, &settings)
    });
    let metric = |bind: &str, line: &str| {
        let text = Browser::new(bind).get("/metrics").body;
        let found = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("{line}: {text}"))
    };
    for bind in &binds {
        for (job, result) in [("alone", "ok"), ("fails", "error"), ("panics", "panic")] {
            let line = format!("frontdesk_job_runs_total{{job=\"{job}\",result=\"{result}\"}}");
            until(|| metric(bind, &line) >= 3.0);
        }
        let seconds: f64 = metric(bind, "frontdesk_job_seconds_count{job=\"alone\"}");
        assert!(seconds >= 3.0);
    }
    for (bind, server) in binds.iter().zip(&servers) {
        let twice = "frontdesk_job_runs_total{job=\"alone\",result=\"error\"}";
        assert_eq!(metric(bind, twice), 0.0, "{}", server.log());
        // A panic ends the run and not the job.
        assert_eq!(metric(bind, "frontdesk_background_job_restarts_total{job=\"panics\"}"), 0.0);
        assert!(server.log().contains("the job panics failed"), "{}", server.log());
    }
}

#[test]
fn a_setting_of_a_site_may_be_in_a_file() {
    let database = Database::empty();
    let file = std::env::temp_dir().join(format!("frontdesk-greeting-{}", std::process::id()));
    std::fs::write(&file, "Good evening\n").unwrap();
    let path = file.to_str().unwrap();
    let server = start(SITE, &database, &[("SHOP_GREETING_FILE", path)]);
    assert!(server.browser().get("/").body.contains(r#""greeting":"Good evening""#));
    let both = [GREETING, ("SHOP_GREETING_FILE", path), ("FRONTDESK_WORKERS", "none")];
    let (code, text) = run(SITE, &database, &["serve"], &both);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(code, Some(2), "{text}");
    for line in ["SHOP_GREETING and SHOP_GREETING_FILE are both set", "FRONTDESK_WORKERS is “none”"]
    {
        assert!(text.contains(line), "{text}");
    }
    let missing = [("SHOP_GREETING_FILE", "/nowhere/at/all")];
    let (code, text) = run(SITE, &database, &["serve"], &missing);
    assert!(code == Some(2) && text.contains("/nowhere/at/all, which cannot be read"), "{text}");
}
