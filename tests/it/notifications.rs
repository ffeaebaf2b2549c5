//! What the triggers on `sessions` and `users` notify, statement by statement, and on which channel.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgListener, PgPoolOptions};

use crate::revocation::with_cookie;
use crate::support::breakpoint::until;
use crate::support::server::KEY;
use crate::support::{Database, Server, registered, site};

/// Hears everything on a channel of a database.
struct Channel<'d> {
    database: &'d Database,
    /// `None` while it is dropped.
    listener: Option<PgListener>,
}

impl Drop for Channel<'_> {
    fn drop(&mut self) {
        let _runtime = self.database.runtime.enter();
        self.listener.take();
    }
}

impl<'d> Channel<'d> {
    fn new(database: &'d Database) -> Self {
        let listener = database.runtime.block_on(async {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&database.url).unwrap();
            let mut listener = PgListener::connect_with(&pool).await.unwrap();
            listener.listen("frontdesk.public").await.unwrap();
            listener
        });
        Self { database, listener: Some(listener) }
    }

    /// Runs a statement and returns the kinds of the notifications of its transaction, with the number of
    /// stripes in each.
    fn notified_by(&mut self, sql: &str) -> Vec<(String, usize)> {
        let listener = self.listener.as_mut().unwrap();
        self.database.runtime.block_on(async {
            let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.database.pool);
            done.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            let end = "SELECT pg_notify('frontdesk.public', 'hello:end')";
            sqlx::query(end).execute(&self.database.pool).await.unwrap();
            let mut notified = Vec::new();
            loop {
                let notification = listener.recv().await.unwrap();
                let payload = notification.payload();
                if payload == "hello:end" {
                    return notified;
                }
                let (kind, stripes) = payload.split_once(':').unwrap_or((payload, ""));
                let stripes = stripes.split(',').filter(|stripe| !stripe.is_empty());
                notified.push((kind.to_owned(), stripes.count()));
            }
        })
    }

    fn insert_sessions(&mut self, count: usize, user: &str) {
        let inserted = self.notified_by(&format!(
            "INSERT INTO sessions (token_digest, id, user_id, idle_timeout, expires_at, absolute_expires_at)
             SELECT sha256(number::text::bytea), gen_random_uuid(), {user}, interval '2 hours',
                    now() + interval '2 hours', now() + interval '24 hours'
               FROM generate_series(1, {count}) AS number"
        ));
        assert!(inserted.is_empty(), "{inserted:?}");
    }
}

const FIRST_USER: &str = "(SELECT id FROM users WHERE email = 'user0@example.com')";

fn with_users(count: usize) -> Database {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    server.stop();
    database.db_create_users("ada@example.com", count);
    database.db_execute("DELETE FROM sessions");
    database
}

fn kinds(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
    expected.iter().map(|(kind, stripes)| ((*kind).to_owned(), *stripes)).collect()
}

#[test]
fn ending_many_sessions_notifies_the_stripes_of_at_most_a_hundred_users() {
    let database = with_users(130);
    let mut channel = Channel::new(&database);
    let of_users = |number: usize| {
        format!(
            "(SELECT id FROM users WHERE email = 'user' || number % {number} || '@example.com')"
        )
    };
    let ends = [
        "DELETE FROM sessions",
        "UPDATE sessions SET expires_at = now()",
        "UPDATE sessions SET user_id = NULL",
    ];
    for end in ends {
        for (sessions, user, expected) in [
            (3, FIRST_USER.to_owned(), ("sessions", 3)),
            (400, FIRST_USER.to_owned(), ("users", 1)),
            (400, of_users(7), ("users", 7)),
            (400, of_users(130), ("all", 0)),
        ] {
            channel.insert_sessions(sessions, &user);
            assert_eq!(channel.notified_by(end), kinds(&[expected]), "{end}: {sessions}, {user}");
            channel.notified_by("DELETE FROM sessions");
        }
    }
    channel.insert_sessions(400, "NULL");
    assert_eq!(channel.notified_by("DELETE FROM sessions"), kinds(&[("all", 0)]), "no users");
    channel.insert_sessions(400, FIRST_USER);
    channel.notified_by("UPDATE sessions SET expires_at = now()");
    assert_eq!(channel.notified_by("DELETE FROM sessions"), [], "expired before");
    assert_eq!(channel.notified_by("TRUNCATE sessions"), kinds(&[("all", 0)]));
}

#[test]
fn each_statement_notifies_what_it_changed_and_nothing_else() {
    let database = with_users(130);
    let mut channel = Channel::new(&database);
    channel.insert_sessions(150, FIRST_USER);
    let one = "token_digest = sha256('1'::bytea)";
    for (sql, expected) in [
        (
            "UPDATE sessions SET last_seen_at = now(), expires_at = expires_at + interval '1 minute'",
            &[][..],
        ),
        (&format!("UPDATE sessions SET state = '{{\"a\": 1}}' WHERE {one}"), &[("sessions", 1)]),
        (&format!("UPDATE sessions SET state = '{{\"a\": 1}}' WHERE {one}"), &[]),
        ("UPDATE sessions SET remembered = true", &[("users", 1)]),
        (
            // Two statements of one transaction, and a part of it that is rolled back.
            &format!(
                "BEGIN; UPDATE sessions SET remembered = false WHERE {one};
                 SAVEPOINT s; UPDATE sessions SET remembered = false; ROLLBACK TO s;
                 UPDATE users SET display_name = 'Ada' WHERE id = {FIRST_USER}; COMMIT"
            ),
            &[("sessions", 1), ("users", 1)],
        ),
        ("UPDATE users SET password_hash = password_hash || ''", &[]),
        (
            "UPDATE users SET display_name = 'Bob' WHERE email LIKE 'user_@example.com'",
            &[("users", 10)],
        ),
        ("UPDATE users SET display_name = 'Eve'", &[("all", 0)]),
    ] {
        assert_eq!(channel.notified_by(sql), kinds(expected), "{sql}");
    }
    let resets = "SELECT resets FROM session_cache_resets";
    let before = database.db_count(resets);
    let off = "BEGIN; SET LOCAL frontdesk.notifications = off; UPDATE sessions SET remembered = true WHERE NOT remembered;
               DELETE FROM sessions; UPDATE users SET display_name = 'Ada'; COMMIT";
    assert_eq!(channel.notified_by(off), []);
    assert_eq!(database.db_count(resets) - before, 3, "one for each statement");
}

#[test]
fn each_change_of_groups_notifies_their_members() {
    let database = with_users(130);
    let mut channel = Channel::new(&database);
    let add = |group: &str, count: usize| {
        format!(
            "INSERT INTO group_members (group_id, user_id)
             SELECT (SELECT id FROM groups WHERE name = '{group}'), id FROM users WHERE email LIKE 'user%' ORDER BY email LIMIT {count}"
        )
    };
    let create = "INSERT INTO groups (id, name) VALUES (gen_random_uuid(), 'few'), (gen_random_uuid(), 'many')";
    for (sql, expected) in [
        (create, &[][..]),
        (&add("few", 1), &[("users", 1)]),
        (&add("many", 120), &[("all", 0)]),
        ("UPDATE groups SET title = 'Title'", &[]),
        ("UPDATE groups SET name = 'some' WHERE name = 'few'", &[("users", 1)]),
        ("UPDATE groups SET name = 'most' WHERE name = 'many'", &[("all", 0)]),
        ("UPDATE groups SET name = 'nobody' WHERE name = 'none'", &[]),
        (
            "UPDATE group_members SET added_at = now() WHERE group_id = (SELECT id FROM groups WHERE name = 'some')",
            &[("users", 1)],
        ),
        (&format!("DELETE FROM group_members WHERE user_id = {FIRST_USER}"), &[("users", 1)]),
        ("DELETE FROM group_members WHERE false", &[]),
        // Announced by the deletion of the users, and not once more by each of their memberships.
        (
            "DELETE FROM users WHERE email IN ('user10@example.com', 'user11@example.com')",
            &[("users", 2)],
        ),
        ("DELETE FROM groups WHERE name = 'most'", &[("all", 0)]),
        (&add("some", 3), &[("users", 3)]),
        ("TRUNCATE groups CASCADE", &[("all", 0)]),
    ] {
        assert_eq!(channel.notified_by(sql), kinds(expected), "{sql}");
    }
}

/// The first execution of a statement in a trigger decides its plan, so a last-seen update must run none.
#[test]
fn a_last_seen_update_calls_no_trigger_for_its_rows() {
    let database = with_users(1);
    Channel::new(&database).insert_sessions(1000, FIRST_USER);
    let calls = |sql: &str| -> Vec<String> {
        let plan = database.db_texts(&format!("EXPLAIN (ANALYZE, COSTS off) {sql}"));
        plan.into_iter().filter(|line| line.contains("_changed: ")).collect()
    };
    let seen =
        "UPDATE sessions SET last_seen_at = now(), expires_at = expires_at + interval '1 second'";
    assert!(calls(&format!("{seen} WHERE token_digest = sha256('1'::bytea)")).is_empty());
    assert!(calls(seen).is_empty());
    let changed = calls("UPDATE sessions SET remembered = true");
    assert!(changed.len() == 1 && changed[0].contains("calls=1000"), "{changed:?}");
}

/// The columns that the statement of `lookup.rs` reads from a table.
fn columns_read(statement: &str, alias: &str) -> BTreeSet<String> {
    let words = |text: &str| {
        text.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let prefix = format!("{alias}.");
    statement
        .match_indices(&prefix)
        .filter(|(at, _)| statement[..*at].ends_with([' ', '(']))
        .map(|(at, _)| words(&statement[at + prefix.len()..]))
        .collect()
}

#[test]
fn the_triggers_compare_every_column_that_the_look_up_of_a_session_reads() {
    let database = Database::new();
    let source = std::fs::read_to_string("src/session/cache/lookup.rs").unwrap();
    let statement = source.split("r#\"").nth(1).unwrap().split("\"#").next().unwrap();
    let compared = |table: &str| {
        database
            .db_texts(&format!(
                "SELECT pg_get_triggerdef(oid) || pg_get_functiondef(tgfoid) FROM pg_trigger WHERE tgname = '{table}_changed'"
            ))
            .remove(0)
    };
    let mut sessions = columns_read(statement, "s");
    // An activity does not change what a cached session may do.
    assert!(sessions.remove("last_seen_at"));
    assert!(sessions.len() >= 11, "{sessions:?}");
    let mut users = columns_read(statement, "u");
    users.insert("id".to_owned());
    assert!(users.len() >= 5 && users.contains("disabled_at"), "{users:?}");
    for (table, columns, [old, new]) in
        [("sessions", sessions, ["old.", "new."]), ("users", users, ["before -> '", "after -> '"])]
    {
        let definition = compared(table);
        for column in columns {
            assert!(
                definition.contains(&format!("{old}{column}"))
                    && definition.contains(&format!("{new}{column}")),
                "lookup.rs reads {table}.{column}, and the trigger {table}_changed does not compare it: {definition}"
            );
        }
    }
}

#[test]
fn sign_out_is_final_in_a_schema_whose_name_is_longer_than_a_channel() {
    for schema in ["ж".repeat(30), "ж".repeat(26), "a".repeat(63), "Desk \" %".to_owned()] {
        let database = Database::empty();
        let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
        database.db_execute(&format!("CREATE SCHEMA {quoted}"));
        let name = database.db_texts("SELECT current_database()::text").remove(0);
        database.db_execute(&format!("ALTER DATABASE {name} SET search_path = {quoted}"));
        let start = || {
            let settings =
                [("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)];
            Server::start_with(&settings)
                .unwrap_or_else(|log| panic!("{schema}: {log}"))
                .until_live()
        };
        let servers = [start(), start()];
        let mut browser = registered(&servers[0], "ada@example.com");
        let cookie = browser.session().unwrap().to_owned();
        assert!(with_cookie(&servers[1], &cookie).is_signed_in());
        assert_eq!(browser.post("/logout", &[]).status, 303, "{schema}");
        for server in &servers {
            assert!(!with_cookie(server, &cookie).is_signed_in(), "{schema}");
            assert!(!server.log().contains("did not confirm"), "{schema}: {}", server.log());
        }
        // A client whose search path does not contain the schema.
        let other = registered(&servers[0], "bob@example.com");
        database.runtime.block_on(async {
            let sql = format!("SET search_path = pg_catalog; DELETE FROM {quoted}.sessions");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.pool).await.unwrap();
        });
        until(|| !other.on_server(&servers[1].addr).is_signed_in());
    }
}

#[test]
fn a_server_sends_a_heartbeat_each_second_and_writes_its_row_every_ten() {
    let (server, database) = site();
    let server = server.until_live();
    let mut channel = Channel::new(&database);
    let mut rows = BTreeSet::new();
    for _ in 0..5 {
        let listener = channel.listener.as_mut().unwrap();
        let notification = database.runtime.block_on(listener.recv()).unwrap();
        assert!(notification.payload().starts_with("beat:"), "{}", notification.payload());
        rows.extend(database.db_texts("SELECT xmin::text FROM session_caches"));
    }
    assert!(rows.len() <= 2, "{rows:?}");
    assert!(server.browser().get("/readyz").body.contains("trusted"));
}

/// With the list of columns of docs/DBA.md, which contains no digest.
#[test]
fn sign_outs_and_changes_of_users_work_beside_a_publication_without_digests() {
    let (server, database) = site();
    let document = std::fs::read_to_string("docs/DBA.md").unwrap();
    let recipe = document.split("```sql\n").find(|block| block.starts_with("CREATE PUBLICATION"));
    let recipe = recipe.unwrap().split("```").next().unwrap();
    database.db_execute(recipe);
    let mut browser = registered(&server, "ada@example.com");
    let response = browser.post("/account/profile", &[("display_name", "Countess")]);
    assert_eq!((response.status, response.location()), (303, "/account/profile"));
    database.db_execute("UPDATE sessions SET last_seen_at = now()");
    assert_eq!(browser.post("/logout", &[]).status, 303);
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
    // Every table that is not in the recipe for its digests has an identity without one. Unlogged tables are
    // never published.
    let by_digest = "SELECT c.relname::text
                       FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
                       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)
                      WHERE c.relnamespace = 'public'::regnamespace AND c.relpersistence = 'p' AND a.attname LIKE '%digest'
                        AND (i.indisreplident OR c.relreplident = 'd' AND i.indisprimary)";
    assert_eq!(database.db_texts(by_digest), ["email_tokens"]);
}

#[test]
fn a_notification_contains_numbers_and_nothing_that_signs_in_or_names_a_user() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut channel = Channel::new(&database);
    assert_eq!(ada.post("/account/profile", &[("display_name", "Ada L")]).status, 303);
    assert_eq!(ada.post("/logout", &[]).status, 303);
    let listener = channel.listener.as_mut().unwrap();
    let mut kinds = BTreeSet::new();
    // Heartbeats and questions arrive, too. The number of each is drawn by a server.
    while !["users", "sessions"].iter().all(|kind| kinds.contains(*kind)) {
        let notification = database.runtime.block_on(listener.recv()).unwrap();
        let payload = notification.payload();
        let (kind, content) = payload.split_once(':').unwrap_or((payload, ""));
        kinds.insert(kind.to_owned());
        if ["users", "sessions"].contains(&kind) {
            // A hash of the user's id with 16 bits.
            let is_stripe = |part: &str| u16::from_str_radix(part, 16).is_ok();
            assert!(content.split(',').all(is_stripe), "{payload}");
        }
    }
}
