//! `migrate move`, and the program to which a database belongs.

use std::path::Path;
use std::process::Command;

use crate::command_line::run_with_url;
use crate::deployment::{name_of, pgbouncer};
use crate::support::breakpoint::until;
use crate::support::proxy::Proxy;
use crate::support::server::{KEY, Setting};
use crate::support::website::{run, start, try_start};
use crate::support::{Database, PASSWORD, Server, registered};
use crate::upgrade::previous;

/// For `serve`, which is expected to end.
const ANY_PORT: Setting<'static> = ("FRONTDESK_BIND", "127.0.0.1:0");

fn dump(database: &Database, schema: &str) -> String {
    let output = Command::new("pg_dump")
        .args(["--schema-only", "--no-owner", "--no-acl", "--schema", schema, &database.url])
        .output()
        .expect("pg_dump is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Newer versions of pg_dump write a random token.
    let lines = text.lines().filter(|line| !line.contains("restrict"));
    lines.collect::<Vec<_>>().join("\n")
}

fn server(program: &Path, database: &Database) -> Server {
    let settings = [("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)];
    Server::start_program(program, &settings).unwrap_or_else(|log| panic!("{log}"))
}

/// An installation in `public` of the program `installed`, with users, sessions and a table of another application,
/// becomes a site.
fn becomes_a_site(installed: &Path) {
    let database = Database::empty();
    database.db_execute("CREATE TABLE orders (id bigint PRIMARY KEY)");
    let plain = server(installed, &database);
    let (ada, bob) = (registered(&plain, "ada@example.com"), registered(&plain, "bob@example.com"));
    database.db_execute(
        "ALTER TABLE orders ADD COLUMN buyer uuid REFERENCES users (id) ON DELETE CASCADE",
    );
    database.db_execute("INSERT INTO orders SELECT 1, id FROM users WHERE email LIKE 'ada%'");
    let log = try_start("notes", &database, &[]).err().expect("it refuses to start");
    let command = "run `notes migrate move frontdesk`";
    assert!(log.contains("are in the schema public") && log.contains(command), "{log}");
    let (code, text) = run("notes", &database, &["user", "list"], &[]);
    assert!(code == Some(2) && text.contains(command), "{text}");
    let (code, text) = run("notes", &database, &["migrate", "move", "frontdesk"], &[]);
    assert!(code == Some(1) && text.contains("Servers are running"), "{text}");
    let schema = "SELECT count(*) FROM pg_namespace WHERE nspname = 'frontdesk'";
    assert_eq!(database.db_count(schema), 0, "nothing is left behind");
    assert_eq!(database.db_count("SELECT count(*) FROM public.users"), 2, "nothing was moved");
    plain.stop();
    let move_now = || run("notes", &database, &["migrate", "move", "frontdesk"], &[]);
    let mut moved = move_now();
    // A version without the table `servers` leaves its lease when it stops.
    until(|| {
        if moved.0 == Some(1) && moved.1.contains("earlier version") {
            moved = move_now();
        }
        moved.0 == Some(0)
    });
    assert!(moved.1.contains("from the schema public to frontdesk"), "{}", moved.1);
    let (code, text) = move_now();
    assert!(code == Some(3) && text.contains("already"), "{text}");
    let site = start("notes", &database, &[]);
    for browser in [&ada, &bob] {
        let mut browser = browser.on_server(&site.addr);
        assert!(browser.is_signed_in(), "{}", site.log());
        assert_eq!(browser.post("/notes", &[("body", "Milk")]).status, 303);
    }
    assert_eq!(site.browser().login("ada@example.com", PASSWORD).status, 303);
    let mut ada = ada.on_server(&site.addr);
    assert_eq!(ada.post("/logout", &[]).status, 303);
    assert!(!ada.is_signed_in() && bob.on_server(&site.addr).is_signed_in());
    let ours = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
                   AND relkind IN ('r', 'v', 'S') ORDER BY 1";
    let left = ["_sqlx_migrations", "notes", "notes_id_seq", "orders"];
    assert_eq!(database.db_texts(ours), left, "the site's, and those of another application");
    let functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
    assert_eq!(database.db_count(functions), 0);
    let fresh = Database::empty();
    let (code, text) = run("notes", &fresh, &["migrate", "run"], &[]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(dump(&database, "frontdesk"), dump(&fresh, "frontdesk"));
}

#[test]
fn an_installation_of_the_plain_program_becomes_a_site_and_nobody_is_signed_out() {
    becomes_a_site(Path::new(env!("CARGO_BIN_EXE_frontdesk")));
}

#[test]
fn an_installation_of_the_previous_version_becomes_a_site_and_nobody_is_signed_out() {
    becomes_a_site(&previous());
}

#[test]
fn a_move_that_fails_half_way_changes_nothing_and_bad_names_are_refused() {
    let database = Database::new();
    let before = dump(&database, "public");
    database.db_execute("CREATE SCHEMA desk");
    database.db_execute("CREATE TABLE desk.audit_log (id int)");
    let output = run_with_url(&database.url, &["migrate", "move", "desk"], "");
    assert_eq!(output.code, 1, "{}", output.error);
    assert!(output.error.contains("Nothing was moved"), "{}", output.error);
    assert!(output.error.contains("audit_log"), "{}", output.error);
    assert_eq!(dump(&database, "public"), before);
    for name in ["Desk", "pg_desk", "1desk", "a-b", ""] {
        let output = run_with_url(&database.url, &["migrate", "move", name], "");
        assert_eq!(output.code, 2, "{name}: {}", output.error);
    }
    let (code, text) = run("notes", &database, &["migrate", "move", "public"], &[]);
    assert!(code == Some(2) && text.contains("FRONTDESK_SITE_SCHEMA"), "{text}");
    let output = run_with_url(&Database::empty().url, &["migrate", "move", "desk"], "");
    assert!(output.code == 1 && output.error.contains("has no tables"), "{}", output.error);
    // The roles keep what they had.
    database.db_execute("DROP TABLE desk.audit_log");
    let output = run_with_url(&database.url, &["migrate", "move", "desk"], "");
    assert_eq!(output.code, 0, "{}", output.error);
    assert!(output.out.contains("Set FRONTDESK_SCHEMA=desk"), "{}", output.out);
    let settings = [
        ("DATABASE_URL", database.server_url.as_str()),
        ("FRONTDESK_SECRET_KEYS", KEY),
        ("FRONTDESK_SCHEMA", "desk"),
    ];
    let server = Server::start_with(&settings).unwrap_or_else(|log| panic!("{log}"));
    registered(&server, "ada@example.com");
}

#[test]
fn a_program_without_the_hooks_of_the_site_neither_serves_nor_changes_users() {
    let database = Database::empty();
    drop(start("notes", &database, &[]));
    let row =
        "SELECT site_name || ' ' || program || ' ' || crate_version FROM frontdesk.installation";
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(database.db_texts(row), [format!("Notes notes {version}")]);
    database
        .db_execute("UPDATE frontdesk.installation SET hook_names = hook_names || '{on_made_up}'");
    let frontdesk = Path::new(env!("CARGO_BIN_EXE_frontdesk"));
    let plain = |arguments: &[&str]| {
        let output = Command::new(frontdesk)
            .args(arguments)
            .env_clear()
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .envs([("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
            .envs([("FRONTDESK_SCHEMA", "frontdesk"), ANY_PORT])
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let refused = |(code, text): (Option<i32>, String)| {
        assert_eq!(code, Some(2), "{text}");
        for words in
            ["site “Notes”", "its program is notes", "on_made_up", "frontdesk.installation"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
    };
    for command in [
        &["serve"][..],
        &["user", "delete", "ada@example.com", "--yes"],
        &["user", "create", "ada@example.com", "--name", "Ada"],
        &["user", "disable", "ada@example.com"],
    ] {
        refused(plain(command));
        refused(run("notes", &database, command, &[ANY_PORT]));
    }
    assert_eq!(plain(&["user", "list"]).0, Some(0));
    assert_eq!(plain(&["migrate", "info"]).0, Some(0));
    // The statement in the message.
    database.db_execute("UPDATE frontdesk.installation SET hook_names = '{}'");
    drop(start("notes", &database, &[]));
}

#[test]
fn the_wrong_migrations_of_a_site_are_invalid_usage() {
    let database = Database::empty();
    drop(start("notes", &database, &[]));
    for (change, words) in [
        ("checksum = 'x'", "of the site was changed"),
        ("success = false", "of the site started but did not finish"),
        ("version = 7", "The site's schema has migration 7"),
    ] {
        database.db_execute(&format!("UPDATE public._sqlx_migrations SET {change}"));
        for command in [&["serve"][..], &["migrate", "run"], &["user", "list"]] {
            let (code, text) = run("notes", &database, command, &[ANY_PORT]);
            assert!(code == Some(2) && text.contains(words), "{command:?}: {text}");
        }
        database.db_execute("UPDATE public._sqlx_migrations SET success = true");
    }
}

#[test]
fn a_newer_version_of_a_site_migrates_while_servers_of_this_one_stay_ready() {
    let database = Database::empty();
    let server = start("notes", &database, &[]);
    let mut ada = registered(&server, "ada@example.com");
    database.db_execute(
        "INSERT INTO public._sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (20991231000001, 'newer', true, 'x', 1)",
    );
    let answer = server.browser().get("/readyz");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("20991231000001"), "{}", answer.body);
    assert!(ada.is_signed_in());
    database.db_execute("UPDATE public._sqlx_migrations SET success = false WHERE checksum = 'x'");
    assert_eq!(server.browser().get("/readyz").status, 503);
}

#[test]
fn doctor_and_start_name_foreign_keys_without_on_delete_or_index_and_the_statements_help() {
    let database = Database::empty();
    drop(start("notes", &database, &[]));
    let (_, text) = run("notes", &database, &["doctor"], &[]);
    assert!(!text.contains("foreign key"), "{text}");
    database.db_execute(
        "CREATE TABLE public.\"Orders\" (buyer uuid CONSTRAINT \"orders buyer\" REFERENCES frontdesk.users (id))",
    );
    let (_, text) = run("notes", &database, &["doctor"], &[]);
    let statement = |kind: &str| {
        let found = text.find(kind).unwrap_or_else(|| panic!("{kind}: {text}"));
        let rest = &text[found..];
        rest[..=rest.find(';').unwrap()].to_owned()
    };
    let log = start("notes", &database, &[]).log();
    for sql in [statement("ALTER TABLE"), statement("CREATE INDEX")] {
        assert!(log.contains(&sql.replace('"', "\\\"")) || log.contains(&sql), "{sql}: {log}");
        database.db_execute(&sql);
    }
    let (_, text) = run("notes", &database, &["doctor"], &[]);
    assert!(!text.contains("foreign key"), "{text}");
    let (code, text) = run("notes", &database, &["migrate", "revert", "--frontdesk", "--yes"], &[]);
    assert!(code == Some(1) && text.contains("\"Orders\" (orders buyer)"), "{text}");
}

#[test]
fn a_site_behind_a_pooler_that_ignores_search_paths_does_not_start_and_doctor_says_why() {
    let database = Database::empty();
    let proxy = Proxy::start(database.socket());
    let name = name_of(&database);
    let (_pgbouncer, port) = pgbouncer(proxy.port, &name);
    drop(start("notes", &database, &[]));
    let url = format!("postgres://desk@127.0.0.1:{port}/{name}?sslmode=disable");
    let through = [("DATABASE_URL", url.as_str()), ANY_PORT];
    let before = database.db_count("SELECT count(*) FROM pg_class");
    for command in ["doctor", "serve"] {
        let (code, text) = run("notes", &database, &[command], &through);
        assert!(code != Some(0) && text.contains("pool_mode = session"), "{command}: {text}");
    }
    assert_eq!(database.db_count("SELECT count(*) FROM pg_class"), before);
    let (_, text) = run("notes", &database, &["doctor"], &[]);
    assert!(!text.contains("pool_mode"), "{text}");
}
