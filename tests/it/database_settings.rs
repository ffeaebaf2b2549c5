//! A PostgreSQL with other settings than usual: defaults of the database, its encoding, and the forms of its
//! URL.

use sqlx::AssertSqlSafe;

use crate::command_line::{run, run_with_url};
use crate::support::server::KEY;
use crate::support::{Browser, Database, PASSWORD, Server, registered, site};

/// Defaults that change what statements do or how values look as text.
pub const UNUSUAL: [&str; 11] = [
    "default_transaction_isolation = 'serializable'",
    "default_transaction_deferrable = on",
    "lock_timeout = '1ms'",
    "idle_session_timeout = '100ms'",
    "statement_timeout = '1ms'",
    "\"IntervalStyle\" = 'sql_standard'",
    "\"DateStyle\" = 'SQL, DMY'",
    "\"TimeZone\" = 'Pacific/Chatham'",
    "bytea_output = 'escape'",
    "standard_conforming_strings = off",
    "array_nulls = off",
];

fn name_of(database: &Database) -> String {
    database.db_texts("SELECT current_database()::text").remove(0)
}

/// Uses one account from eight browsers at the same time. Returns every status of 500 and more.
pub fn contended(server: &Server, browser: &Browser) -> Vec<u16> {
    let statuses = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let mut browser = browser.clone();
                let mut other = server.browser();
                scope.spawn(move || {
                    let mut statuses = Vec::new();
                    for round in 0..4 {
                        let name = format!("Ada {number} {round}");
                        let form = [("display_name", name.as_str())];
                        statuses.push(browser.post("/account/profile", &form).status);
                        statuses.push(other.login("ada@example.com", PASSWORD).status);
                        statuses.push(browser.get("/account/sessions").status);
                        statuses.push(other.post("/logout", &[]).status);
                    }
                    statuses
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(statuses.contains(&303) && statuses.contains(&200), "{statuses:?}");
    statuses.into_iter().filter(|status| *status >= 500).collect()
}

#[test]
fn no_default_of_the_database_or_the_role_changes_what_pages_do() {
    let database = Database::new();
    for setting in UNUSUAL {
        database.db_execute(&format!("ALTER DATABASE {} SET {setting}", name_of(&database)));
    }
    let server = Server::start(&database, &[]).until_live();
    let browser = registered(&server, "ada@example.com");
    assert_eq!(contended(&server, &browser), [] as [u16; 0], "{}", server.log());
    assert_eq!(server.browser().get("/readyz").status, 200);
    assert!(server.browser().get("/readyz").body.contains("trusted"));
}

#[test]
fn a_server_is_not_ready_when_new_connections_would_be_read_only() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let name = name_of(&database);
    assert_eq!(server.browser().get("/readyz").status, 200);
    database.db_execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    // The connections of the pool still accept writes.
    let ready = server.browser().get("/readyz");
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert!(ready.body.contains("\"database\":\"read-only\""), "{}", ready.body);
    assert!(ready.body.contains("default_transaction_read_only is on"), "{}", ready.body);
    database.db_execute(&format!("ALTER DATABASE {name} RESET default_transaction_read_only"));
    assert_eq!(server.browser().get("/readyz").status, 200);
}

#[test]
fn a_database_without_utf8_is_refused_by_servers_and_by_doctor() {
    let base = Database::new();
    let name = format!("{}_ascii", name_of(&base));
    base.db_execute(&format!("DROP DATABASE IF EXISTS {name}"));
    base.db_execute(&format!("CREATE DATABASE {name} ENCODING SQL_ASCII TEMPLATE template0"));
    let url = base.url.replace(&format!("/{}?", name_of(&base)), &format!("/{name}?"));
    let ascii = Database::connect(&url);
    let report = run(&ascii, &["doctor"], "");
    assert_eq!(report.code, 4);
    assert!(report.out.contains("SQL_ASCII") && report.out.contains("UTF8"), "{}", report.out);
    let error = Server::start_with(&[("DATABASE_URL", &url), ("FRONTDESK_SECRET_KEYS", KEY)]);
    let error = error.err().expect("it must not start");
    assert!(error.contains("ENCODING 'UTF8' TEMPLATE template0"), "{error}");
    ascii.runtime.block_on(ascii.pool.close());
    base.db_execute(&format!("DROP DATABASE {name}"));
}

/// Standard error of `frontdesk user list` with this URL.
fn error_with(url: &str) -> String {
    let output = run_with_url(url, &["user", "list"], "");
    assert_eq!(output.code, 1, "{}", output.error);
    output.error
}

#[test]
fn urls_of_sockets_and_ipv6_work_and_unknown_parameters_are_named_without_their_value() {
    let database = Database::new();
    let folder = database.socket().parent().unwrap().display().to_string();
    let name = name_of(&database);
    let url =
        format!("postgresql://frontdesk@/{name}?host={folder}&sslpassword=hunter2&keepalives=1");
    let output = run_with_url(&url, &["user", "list"], "");
    assert_eq!(output.code, 0, "{}", output.error);
    for word in ["sslpassword", "keepalives"] {
        assert!(output.error.contains(word), "{word}: {}", output.error);
    }
    assert!(!output.error.contains("hunter2"), "{}", output.error);
    // Accepted as a URL: nothing listens there.
    let error = error_with("postgres://frontdesk@[::1]:1/desk");
    assert!(error.contains("desk on ::1, port 1"), "{error}");
    for url in [
        "postgres://frontdesk@one,two/desk",
        "postgres://frontdesk@one/desk?target_session_attrs=read-write",
    ] {
        let output = run_with_url(url, &["user", "list"], "");
        assert_eq!(output.code, 2, "{}", output.error);
        assert!(output.error.contains("DATABASE_URL"), "{}", output.error);
    }
}

#[test]
fn every_reason_why_a_connection_fails_has_its_own_sentence_once() {
    let database = Database::new();
    let name = name_of(&database);
    let admin = database.url.replace(&format!("/{name}?"), "/postgres?");
    database.db_execute("DROP ROLE IF EXISTS nobody_home");
    database.db_execute("CREATE ROLE nobody_home NOLOGIN");
    let replaced = |from: &str, to: &str| database.url.replacen(from, to, 1);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let closing = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closing_port = closing.local_addr().unwrap().port();
    std::thread::spawn(move || closing.incoming().for_each(drop));
    let cases = [
        (replaced(&format!("/{name}?"), "/missing_database?"), "the database does not exist"),
        (replaced("frontdesk@", "nobody_home@"), "refuses this login"),
        ("postgres://desk@127.0.0.1:1/desk?sslmode=disable".to_owned(), "nothing listens"),
        ("postgres://desk@/desk?host=/nowhere".to_owned(), "socket does not exist"),
        (
            format!("postgres://desk@127.0.0.1:{silent_port}/desk?sslmode=disable"),
            "did not respond in time",
        ),
        (
            format!("postgres://desk@127.0.0.1:{closing_port}/desk?sslmode=disable"),
            "closed before PostgreSQL answered",
        ),
    ];
    for (url, reason) in cases {
        let error = error_with(&url);
        assert_eq!(error.matches(reason).count(), 1, "{url}: {error}");
        assert_eq!(
            error.matches("cannot connect").count() + error.matches("Cannot connect").count(),
            1,
            "{error}"
        );
        assert!(!error.contains("at line") && !error.contains("error returned from"), "{error}");
        assert!(error.lines().count() == 1 && error.len() < 400, "{error}");
    }
    database.runtime.block_on(async {
        let pool = sqlx::PgPool::connect(&admin).await.unwrap();
        let closed = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
        sqlx::query(AssertSqlSafe(closed)).execute(&pool).await.unwrap();
        pool.close().await;
    });
    let error = error_with(&database.url);
    assert!(error.contains("ALLOW_CONNECTIONS true"), "{error}");
}
