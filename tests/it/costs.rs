//! The number of statements per page, counted by pg_stat_statements.

use std::collections::BTreeMap;

use crate::support::breakpoint::until;
use crate::support::mail::db_clear_rate_limits;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

pub fn statements(database: &Database, pattern: &str) -> i64 {
    database.db_count(&format!(
        "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
          WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND query ILIKE '{pattern}'"
    ))
}

#[test]
fn without_cache_1000_pages_run_1000_selects_and_at_most_2_updates() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_SESSION_CACHE", "off")]);
    let mut browser = registered(&server, "ada@example.com");
    database.db_execute(
        "UPDATE sessions SET last_seen_at = last_seen_at - interval '5 minutes', expires_at = expires_at - interval '5 minutes'",
    );
    let (selects, updates) =
        ("%FROM sessions s%LEFT JOIN LATERAL%token_digest%", "%UPDATE sessions AS s%");
    let before = (statements(&database, selects), statements(&database, updates));
    for _ in 0..1000 {
        assert_eq!(browser.get("/account/profile").status, 200);
    }
    // A background job writes last_seen_at: wait until the row has changed.
    let outdated = "SELECT count(*) FROM sessions WHERE last_seen_at < now() - interval '1 minute'";
    until(|| database.db_count(outdated) == 0);
    assert_eq!(statements(&database, selects) - before.0, 1000);
    let updates = statements(&database, updates) - before.1;
    assert!((1..=2).contains(&updates), "{updates}");
    println!("1,000 pages: 1,000 selects, {updates} update(s)");
}

#[test]
fn with_cache_1000_pages_run_at_most_5_selects_and_2_updates() {
    let database = Database::new();
    let server = Server::start(&database, &[]).until_live();
    let mut browser = registered(&server, "ada@example.com");
    let (selects, updates) =
        ("%FROM sessions s%LEFT JOIN LATERAL%token_digest%", "%UPDATE sessions AS s%");
    let before = (statements(&database, selects), statements(&database, updates));
    for _ in 0..1000 {
        assert_eq!(browser.get("/account/profile").status, 200);
    }
    let selects = statements(&database, selects) - before.0;
    let updates = statements(&database, updates) - before.1;
    println!("1,000 pages from memory: {selects} select(s), {updates} update(s)");
    assert!((1..=5).contains(&selects), "{selects}");
    assert!(updates <= 2, "{updates}");
}

#[test]
fn an_account_page_takes_no_row_lock_and_a_form_takes_two() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    let locks = || {
        statements(&database, "%FROM users WHERE id%FOR NO KEY UPDATE%")
            + statements(&database, "%FROM sessions s%FOR NO KEY UPDATE OF s%")
    };
    let checks = || statements(&database, "%SELECT EXISTS%FROM sessions s%JOIN users u%");
    let before = (locks(), checks());
    for page in
        ["", "/profile", "/email", "/sessions", "/password", "/activity", "/export", "/delete"]
    {
        assert_eq!(browser.get(&format!("/account{page}")).status, 200, "{page}");
    }
    assert_eq!((locks(), checks()), before);
    assert_eq!(browser.post("/account/profile", &[("display_name", "Changed")]).status, 303);
    assert_eq!((locks(), checks()), (before.0 + 2, before.1));
    // A page that answers a form costs one more query and no lock.
    assert_eq!(browser.post("/account/profile", &[("display_name", "")]).status, 422);
    assert_eq!((locks(), checks()), (before.0 + 2, before.1 + 1));
}

#[test]
fn a_sign_in_inserts_its_session_and_deletes_the_previous_one_in_one_transaction() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let mut bob = registered(&server, "bob@example.com");
    let expected = [
        ("%FROM users%FOR SHARE%", 1),
        ("%INSERT INTO sessions%", 1),
        ("%DELETE FROM sessions%WHERE token_digest = %", 1),
        ("%UPDATE sessions%state%", 0),
        // "signed_in" for the new session, "session_ended" for the previous one.
        ("%INSERT INTO audit_events%", 2),
    ];
    let before = expected.map(|(pattern, _)| statements(&database, pattern));
    assert_eq!(bob.login("ada@example.com", PASSWORD).status, 303);
    for ((pattern, expected), before) in expected.into_iter().zip(before) {
        assert_eq!(statements(&database, pattern) - before, expected, "{pattern}");
    }
    let transactions = "SELECT count(DISTINCT xmin) FROM (
            SELECT xmin::text FROM sessions WHERE user_id = (SELECT id FROM users WHERE email = 'ada@example.com') AND created_at = (SELECT max(created_at) FROM sessions)
            UNION ALL SELECT xmin::text FROM audit_events WHERE event = 'session_ended') AS written";
    assert_eq!(database.db_count(transactions), 1);
    assert!(bob.get("/account/profile").body.contains("ada@example.com"));
}

#[test]
fn anonymous_requests_run_no_session_statement_and_create_no_row() {
    let (server, database) = site();
    let mut browser = server.browser();
    browser.get("/");
    let session_statements = "%sessions%";
    let before = statements(&database, session_statements);
    for path in ["/", "/login", "/register", "/account", "/nowhere"] {
        for _ in 0..200 {
            browser.get(path);
        }
    }
    // Only the purge and last-seen jobs may run statements in the meantime.
    let purge = statements(&database, "%DELETE FROM sessions%");
    let lookups = statements(&database, "%FROM sessions s%LEFT JOIN LATERAL%");
    let after = statements(&database, session_statements) - before;
    assert_eq!(lookups, 0);
    assert!(after <= purge + 2, "{after}");
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
    assert_eq!(database.db_count("SELECT count(*) FROM audit_events"), 0);
    // The sign-in form has to find out whether the browser accepts cookies.
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["browser"]);
    assert!(server.browser().get("/").cookies().is_empty());
}

/// Requests and how many statements each runs, with those that begin and end transactions. A statement more is
/// a round trip more: change a number only if the work is worth it.
const STATEMENTS: [(&str, i64); 14] = [
    ("GET /", 0),
    ("GET /login", 0),
    ("GET /register", 0),
    ("GET /account", 3),
    ("GET /account/profile", 0),
    ("GET /account/email", 2),
    ("GET /account/password", 0),
    ("GET /account/sessions", 2),
    ("GET /account/activity", 1),
    ("GET /account/delete", 2),
    ("POST /account/profile", 8),
    ("POST /login, wrong", 10),
    ("POST /login", 18),
    ("POST /logout", 7),
];

/// How often each statement of the servers was run so far.
fn db_calls(database: &Database) -> BTreeMap<String, i64> {
    let rows = database.db_texts(
        "SELECT calls || ' ' || queryid || ' ' || query FROM pg_stat_statements
          WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND userid = 'desk'::regrole AND toplevel",
    );
    let split = |row: String| {
        let (calls, query) = row.split_once(' ').unwrap();
        (query.to_owned(), calls.parse().unwrap())
    };
    rows.into_iter().map(split).collect()
}

/// The statements that `request` runs each time. What background jobs run meanwhile is not counted, because
/// it is run less often than `request`.
fn statements_of(database: &Database, mut request: impl FnMut()) -> Vec<String> {
    const TIMES: i64 = 40;
    // The first request of a kind prepares its statements, and may find nothing in the cache.
    request();
    let before = db_calls(database);
    (0..TIMES).for_each(|_| request());
    let mut found = Vec::new();
    for (query, calls) in db_calls(database) {
        let more = calls - before.get(&query).copied().unwrap_or_default();
        (0..more / TIMES).for_each(|_| found.push(query.clone()));
    }
    found
}

#[test]
fn every_request_runs_as_many_statements_as_listed() {
    let database = Database::new();
    let server = Server::start(&database, &[]).until_live();
    let mut ada = registered(&server, "ada@example.com");
    let mut differences = Vec::new();
    for (request, expected) in STATEMENTS {
        let mut other = server.browser();
        let found = statements_of(&database, || {
            let status = match request.split_once(' ').unwrap() {
                ("GET", path) => ada.get(path).status,
                (_, "/account/profile") => {
                    ada.post("/account/profile", &[("display_name", "Ada")]).status
                }
                (_, "/login, wrong") => {
                    db_clear_rate_limits(&database);
                    server.browser().login("ada@example.com", OTHER_PASSWORD).status
                }
                (_, "/login") => other.login("ada@example.com", PASSWORD).status,
                _ => {
                    let cookie = database.db_create_sessions("ada@example.com", 1).remove(0);
                    other.cookies.insert("session".to_owned(), cookie);
                    other.post("/logout", &[]).status
                }
            };
            assert!([200, 303, 422].contains(&status), "{request}: {status}");
        });
        if found.len() as i64 != expected {
            let listed = found.iter().map(|query| format!("    {}", query.replace('\n', " ")));
            differences.push(format!(
                "{request}: {} instead of {expected}\n{}",
                found.len(),
                listed.collect::<Vec<_>>().join("\n")
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
