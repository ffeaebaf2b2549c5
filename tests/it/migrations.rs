//! The schema: reversible, commented, and rejected if it is not the one this program expects.

use std::fs;
use std::process::Command;

use frontdesk::db::migrations;
use sqlx::Connection as _;

use crate::command_line::{run, run_with_url};
use crate::support::server::KEY;
use crate::support::{Database, Server, registered, site};

fn dump(database: &Database) -> String {
    let output = Command::new("pg_dump")
        .args(["--schema-only", "--no-owner", "--exclude-table=_sqlx_migrations", &database.url])
        .output()
        .expect("pg_dump is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Newer versions of pg_dump write a random token.
    text.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn migration_count() -> usize {
    let folder = fs::read_dir("migrations").unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".up.sql")).count()
}

#[test]
fn running_reverting_and_running_all_migrations_gives_an_identical_schema() {
    let database = Database::empty();
    let run = || database.runtime.block_on(migrations::run(&database.pool)).unwrap();
    run();
    let first = dump(&database);
    let reverted = database.runtime.block_on(migrations::revert(&database.pool, 0)).unwrap();
    assert_eq!(reverted.len(), migration_count());
    assert!(!dump(&database).contains("CREATE TABLE"));
    run();
    assert_eq!(dump(&database), first);
    let previous = reverted[1];
    let reverted = database.runtime.block_on(migrations::revert(&database.pool, previous)).unwrap();
    assert_eq!(reverted.len(), 1);
}

#[test]
fn every_table_column_index_view_and_function_is_commented() {
    let database = Database::new();
    let bare = database.db_texts(
        "SELECT c.relname || '.' || coalesce(a.attname, '(itself)')
           FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
           LEFT JOIN LATERAL (
                SELECT attname, attnum FROM pg_attribute
                 WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                   AND c.relkind IN ('r', 'v')
                UNION ALL SELECT NULL, 0) AS a ON true
          WHERE c.relkind IN ('r', 'i', 'v', 'S')
            AND c.relname NOT LIKE '\\_sqlx%' AND c.relname NOT LIKE 'pg\\_stat%'
            AND col_description(c.oid, a.attnum) IS NULL
            AND NOT (a.attnum = 0 AND obj_description(c.oid, 'pg_class') IS NOT NULL)",
    );
    assert!(bare.is_empty(), "{bare:?}");
    let bare = database.db_texts(
        "SELECT p.proname::text FROM pg_proc p
           JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'public'
          WHERE obj_description(p.oid, 'pg_proc') IS NULL AND p.prolang <> 13
            AND p.proname NOT LIKE 'pg\\_stat%'",
    );
    assert!(bare.is_empty(), "{bare:?}");
}

#[test]
fn every_query_in_the_dba_document_runs() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let page = fs::read_to_string("docs/DBA.md").unwrap();
    let queries: Vec<&str> =
        page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(queries.len() > 10);
    for query in &queries {
        database.db_execute(query);
    }
    assert_eq!(database.db_count("SELECT count(*) FROM active_sessions"), 0);
}

#[test]
fn the_reader_role_sees_no_secrets_and_the_app_role_cannot_change_the_audit_log() {
    let database = Database::new();
    let may = |role: &str, what: &str| {
        let sql = format!("BEGIN; SET LOCAL ROLE {role}; {what}; ROLLBACK");
        database.runtime.block_on(async {
            // A connection of its own, because a failed statement leaves an open transaction on it.
            let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.is_ok()
        })
    };
    for what in [
        "SELECT * FROM active_sessions",
        "SELECT id, user_id, expires_at FROM sessions",
        "SELECT id, email FROM users",
        "SELECT * FROM audit_events",
    ] {
        assert!(may("frontdesk_reader", what), "{what}");
    }
    for what in [
        "SELECT token_digest FROM sessions",
        "SELECT state FROM sessions",
        "SELECT password_hash FROM users",
        "DELETE FROM sessions",
        "INSERT INTO audit_events (event) VALUES ('made_up')",
    ] {
        assert!(!may("frontdesk_reader", what), "{what}");
    }
    for what in [
        "UPDATE audit_events SET event = 'changed'",
        "DELETE FROM audit_events",
        "TRUNCATE sessions",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE sessions DISABLE TRIGGER ALL",
        "DROP VIEW active_sessions",
    ] {
        assert!(!may("frontdesk_app", what), "{what}");
    }
    assert!(may("frontdesk_app", "DELETE FROM sessions"));
    assert!(may("frontdesk_website", "SELECT * FROM user_profiles, active_sessions, audit_log"));
    for what in [
        "SELECT id FROM users",
        "SELECT token_digest FROM sessions",
        "SELECT * FROM audit_events",
        "SELECT * FROM mail_outbox",
        "DELETE FROM active_sessions",
        "CREATE TABLE mine (id int)",
    ] {
        assert!(!may("frontdesk_website", what), "{what}");
    }
}

#[test]
fn the_app_role_cannot_anonymize_the_audit_events_of_an_existing_user() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let with_ip = "SELECT count(*) FROM audit_events WHERE ip_address IS NOT NULL";
    let before = database.db_count(with_ip);
    assert!(before > 0);
    let user = database.db_texts("SELECT id::text FROM users").remove(0);
    // PostgreSQL searches temporary tables before every schema, unless the search path lists pg_temp.
    let sql = format!(
        "SET ROLE frontdesk_app; CREATE TEMPORARY TABLE users (id uuid); GRANT SELECT ON users TO PUBLIC;
         SELECT audit_events_anonymize('{user}')"
    );
    database.runtime.block_on(async {
        let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    });
    assert_eq!(database.db_count(with_ip), before);
}

/// A database in which the migration that builds this index has not run.
fn before_the_index() -> Database {
    let database = Database::new();
    database.db_execute("DELETE FROM _sqlx_migrations WHERE version = 20261125000002");
    database
}

#[test]
fn a_concurrent_index_build_waits_for_older_transactions() {
    let database = before_the_index();
    database.db_execute("DROP INDEX users_deletion_due_at_idx");
    let older = database.db_begin("LOCK TABLE users IN ROW EXCLUSIVE MODE");
    let pool = database.pool.clone();
    let migrated = database.runtime.spawn(async move { migrations::run(&pool).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND query LIKE '%CREATE INDEX CONCURRENTLY%'
                      AND wait_event_type = 'Lock' AND now() - query_start > interval '3.5 seconds'";
    while database.db_count(waiting) == 0 {
        assert!(!migrated.is_finished(), "the migration did not wait");
    }
    older.rollback();
    database.runtime.block_on(migrated).unwrap().unwrap();
    let valid = "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid = 'users_deletion_due_at_idx'::regclass";
    assert_eq!(database.db_count(valid), 1);
}

#[test]
fn an_invalid_index_is_reported_with_the_statement_that_drops_it() {
    let database = before_the_index();
    database.db_execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_deletion_due_at_idx'::regclass",
    );
    let error = database.runtime.block_on(migrations::run(&database.pool)).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("DROP INDEX CONCURRENTLY public.users_deletion_due_at_idx;"), "{error}");
    database.db_execute("DROP INDEX CONCURRENTLY public.users_deletion_due_at_idx");
    database.runtime.block_on(migrations::run(&database.pool)).unwrap();
}

#[test]
fn a_missing_dirty_or_incompatible_schema_is_rejected_with_a_helpful_message() {
    let rejection = |database: &Database, settings: &[(&str, &str)]| {
        let mut all = vec![("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)];
        all.extend_from_slice(settings);
        Server::start_with(&all).err().expect("the server must not start")
    };
    let off = [("FRONTDESK_MIGRATE", "off")];
    let empty = Database::empty();
    let error = rejection(&empty, &off);
    assert!(
        error.contains(&format!("{} migration(s) are pending", migration_count()))
            && error.contains("frontdesk migrate run"),
        "{error}"
    );

    let newer = Database::new();
    newer.db_execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (29990101000000, 'of the future', true, '\\x00', 0)",
    );
    newer.db_execute(
        "INSERT INTO breaking_migrations VALUES (29990101000000, 'sessions are stored elsewhere')",
    );
    for settings in [&off[..], &[]] {
        let error = rejection(&newer, settings);
        assert!(
            error.contains("newer than this version of Frontdesk")
                && error.contains("sessions are stored elsewhere"),
            "{error}"
        );
    }
    let dirty = Database::new();
    dirty.db_execute("UPDATE _sqlx_migrations SET success = false WHERE version = 20261123000003");
    for settings in [&off[..], &[]] {
        let error = rejection(&dirty, settings);
        assert!(error.contains("did not finish"), "{error}");
    }
    let changed = Database::new();
    changed.db_execute(
        "UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 20261123000001",
    );
    let error = rejection(&changed, &[]);
    assert!(error.contains("differs from the one in this version of Frontdesk"), "{error}");
}

#[test]
fn a_newer_schema_that_declares_no_break_is_served_with_a_warning() {
    let database = Database::new();
    database.db_execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (29990101000000, 'of the future', true, '\\x00', 0)",
    );
    let server = Server::start(&database, &[]);
    assert!(server.log().contains("newer than this version"), "{}", server.log());
    registered(&server, "ada@example.com");
    let ready = server.browser().get("/readyz");
    assert!(ready.status == 200 && ready.body.contains("compatible"), "{}", ready.body);
    let listed = run(&database, &["user", "list"], "");
    assert!(listed.code == 0 && listed.error.contains("newer"), "{}", listed.error);
    assert_eq!(run(&database, &["migrate", "run"], "").code, 0);
    // Only the newer version knows how to revert its migration.
    let reverted = run(&database, &["migrate", "revert", "--yes"], "");
    assert!(reverted.code == 1 && reverted.error.contains("29990101000000"), "{}", reverted.error);
    // The declaration arrives while the server runs: it is not ready, and no command runs.
    database.db_execute("INSERT INTO breaking_migrations VALUES (29990101000000, 'no sessions')");
    assert_eq!(server.browser().get("/readyz").status, 503);
    let listed = run(&database, &["user", "list"], "");
    assert!(listed.code == 1 && listed.error.contains("no sessions"), "{}", listed.error);
}

#[test]
fn the_migrations_of_another_application_are_not_called_newer() {
    let database = Database::empty();
    database.db_execute(
        "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL,
                installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL,
                checksum bytea NOT NULL, execution_time bigint NOT NULL)",
    );
    database.db_execute(
        "INSERT INTO _sqlx_migrations VALUES (20200101000000, 'shop', now(), true, '\\x00', 0)",
    );
    for command in [&["migrate", "run"][..], &["migrate", "revert", "--yes"], &["user", "list"]] {
        let output = run(&database, command, "");
        assert_eq!(output.code, 1, "{command:?}");
        assert!(output.error.contains("belongs to another application"), "{}", output.error);
        assert!(!output.error.contains("newer"), "{}", output.error);
    }
}

#[test]
fn a_login_without_the_right_to_create_tables_is_told_the_grant() {
    let database = Database::empty();
    database.db_execute("DROP ROLE IF EXISTS tableless");
    database.db_execute("CREATE ROLE tableless LOGIN");
    let owner = database.url.split('@').next().unwrap();
    let url = database.url.replacen(owner, "postgres://tableless", 1);
    let output = run_with_url(&url, &["migrate", "run"], "");
    assert_eq!(output.code, 1);
    assert!(
        output.error.contains("GRANT USAGE, CREATE ON SCHEMA public TO tableless;"),
        "{}",
        output.error
    );
    assert!(!output.error.contains("at line"), "{}", output.error);
}

#[test]
fn reverting_asks_first_and_migrations_need_no_keys() {
    let database = Database::new();
    let refused = run(&database, &["migrate", "revert", "--all"], "");
    assert!(refused.code != 0 && refused.error.contains("--yes"), "{}", refused.error);
    assert_eq!(database.db_count("SELECT count(*) FROM users"), 0, "the table is still there");
    let without_keys = |arguments: &[&str], url: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_frontdesk"));
        command.args(arguments).env_clear().current_dir(env!("CARGO_TARGET_TMPDIR"));
        let output = command.envs(url.map(|url| ("DATABASE_URL", url))).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
    };
    without_keys(&["migrate", "info"], Some(&database.url));
    without_keys(&["migrate", "run"], Some(&database.url));
    without_keys(&["migrate", "roles", "--print"], None);
    without_keys(&["migrate", "roles"], Some(&database.url));
    without_keys(&["migrate", "revert", "--yes"], Some(&database.url));
}

#[test]
fn the_roles_of_two_schemas_are_separate_and_long_names_fit() {
    let database = Database::empty();
    let long = "л".repeat(31);
    for (schema, app) in [
        ("public", "frontdesk_app".to_owned()),
        ("Staff only", "frontdesk_app_Staff only".to_owned()),
        (
            long.as_str(),
            database.db_texts(&format!("SELECT 'frontdesk_app_' || md5('{long}')")).remove(0),
        ),
    ] {
        database.db_execute(&format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\""));
        let path = schema.replace(' ', "%5C%20");
        let url = format!("{}&options=-c%20search_path%3D%22{path}%22", database.url);
        for command in [&["migrate", "run"][..], &["migrate", "roles"]] {
            let output = run_with_url(&url, command, "");
            assert_eq!(output.code, 0, "{schema}: {}", output.error);
        }
        let readers = database.db_texts(&format!(
            "SELECT DISTINCT grantee::text FROM information_schema.role_table_grants
              WHERE table_schema = '{schema}' AND table_name = 'users' AND grantee LIKE 'frontdesk\\_app%'"
        ));
        assert_eq!(readers, [app]);
    }
}

#[test]
fn servers_starting_at_the_same_time_on_an_empty_database_all_serve() {
    let database = Database::empty();
    std::thread::scope(|scope| {
        let starts: Vec<_> =
            (0..3).map(|_| scope.spawn(|| Server::start(&database, &[]))).collect();
        for start in starts {
            let server = start.join().unwrap();
            assert_eq!(server.browser().get("/readyz").status, 200);
        }
    });
}
