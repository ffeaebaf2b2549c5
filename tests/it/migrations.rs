//! The schema: reversible, explained, and refused when it is not the one this program knows.

use std::fs;
use std::process::Command;

use frontdesk::db::migrations;
use sqlx::Connection as _;

use crate::support::server::KEY;
use crate::support::{Database, Server, registered, site};

fn dump(database: &Database) -> String {
    let output = Command::new("pg_dump")
        .args(["--schema-only", "--no-owner", "--exclude-table=_sqlx_migrations", &database.url])
        .output()
        .expect("pg_dump is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Newer versions guard a dump by a random word.
    text.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// How many migrations there are.
fn ups() -> usize {
    let folder = fs::read_dir("migrations").unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".up.sql")).count()
}

#[test]
fn run_revert_all_run_gives_an_identical_schema() {
    let database = Database::empty();
    let run = || database.runtime.block_on(migrations::run(&database.pool)).unwrap();
    run();
    let first = dump(&database);
    let reverted = database.runtime.block_on(migrations::revert(&database.pool, true)).unwrap();
    assert_eq!(reverted.len(), ups());
    assert!(!dump(&database).contains("CREATE TABLE"));
    run();
    assert_eq!(dump(&database), first);
    assert_eq!(
        database.runtime.block_on(migrations::revert(&database.pool, false)).unwrap().len(),
        1
    );
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
fn every_query_of_the_dbas_page_runs() {
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
fn a_reader_sees_no_digest_no_state_and_no_hash_and_the_app_can_not_rewrite_the_trail() {
    let database = Database::new();
    let may = |role: &str, what: &str| {
        let sql = format!("BEGIN; SET LOCAL ROLE {role}; {what}; ROLLBACK");
        database.runtime.block_on(async {
            // A connection of its own, which goes with whatever it was left in.
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
}

#[test]
fn the_application_role_can_not_blank_the_trail_of_somebody_who_is_there() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let told = "SELECT count(*) FROM audit_events WHERE ip_address IS NOT NULL";
    let before = database.db_count(told);
    assert!(before > 0);
    let user = database.db_texts("SELECT id::text FROM users").remove(0);
    // A temporary table is looked for before those of any schema, unless a search path names it.
    let sql = format!(
        "SET ROLE frontdesk_app; CREATE TEMPORARY TABLE users (id uuid); GRANT SELECT ON users TO PUBLIC;
         SELECT audit_events_anonymize('{user}')"
    );
    database.runtime.block_on(async {
        let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    });
    assert_eq!(database.db_count(told), before);
}

/// A database where the index of this migration is still to be built.
fn before_the_index() -> Database {
    let database = Database::new();
    database.db_execute("DELETE FROM _sqlx_migrations WHERE version = 20261125000002");
    database
}

#[test]
fn an_index_that_is_built_beside_pages_waits_for_older_transactions() {
    let database = before_the_index();
    database.db_execute("DROP INDEX users_deletion_due_at_idx");
    let older = database.db_hold("LOCK TABLE users IN ROW EXCLUSIVE MODE");
    let pool = database.pool.clone();
    let migrated = database.runtime.spawn(async move { migrations::run(&pool).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND query LIKE '%CREATE INDEX CONCURRENTLY%'
                      AND wait_event_type = 'Lock' AND now() - query_start > interval '3.5 seconds'";
    while database.db_count(waiting) == 0 {
        assert!(!migrated.is_finished(), "it gave up");
    }
    older.let_go();
    database.runtime.block_on(migrated).unwrap().unwrap();
    let valid = "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid = 'users_deletion_due_at_idx'::regclass";
    assert_eq!(database.db_count(valid), 1);
}

#[test]
fn an_index_that_is_half_built_is_named_with_what_to_do() {
    let database = before_the_index();
    database.db_execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_deletion_due_at_idx'::regclass",
    );
    let said = database.runtime.block_on(migrations::run(&database.pool)).unwrap_err();
    let said = format!("{said:#}");
    assert!(said.contains("DROP INDEX CONCURRENTLY public.users_deletion_due_at_idx;"), "{said}");
    database.db_execute("DROP INDEX CONCURRENTLY public.users_deletion_due_at_idx");
    database.runtime.block_on(migrations::run(&database.pool)).unwrap();
}

#[test]
fn a_schema_that_is_missing_dirty_or_newer_is_refused_with_what_to_do() {
    let refused = |database: &Database, settings: &[(&str, &str)]| {
        let mut all = vec![("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)];
        all.extend_from_slice(settings);
        Server::start_bare(&all).err().expect("it must not start")
    };
    let off = [("FRONTDESK_MIGRATE", "off")];
    let empty = Database::empty();
    let said = refused(&empty, &off);
    assert!(
        said.contains(&format!("{} step(s) behind", ups()))
            && said.contains("frontdesk migrate run"),
        "{said}"
    );

    let newer = Database::new();
    newer.db_execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (29990101000000, 'of the future', true, '\\x00', 0)",
    );
    for settings in [&off[..], &[]] {
        let said = refused(&newer, settings);
        assert!(said.contains("newer than this program"), "{said}");
    }
    let dirty = Database::new();
    dirty.db_execute("UPDATE _sqlx_migrations SET success = false WHERE version = 20261123000003");
    for settings in [&off[..], &[]] {
        let said = refused(&dirty, settings);
        assert!(said.contains("did not finish"), "{said}");
    }
    let changed = Database::new();
    changed.db_execute(
        "UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 20261123000001",
    );
    let said = refused(&changed, &[]);
    assert!(said.contains("differs from the one in this program"), "{said}");
}

#[test]
fn two_servers_that_start_at_once_on_an_empty_database_both_serve() {
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
