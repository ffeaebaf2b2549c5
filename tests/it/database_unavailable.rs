//! The database refuses access, is being restored, or its columns change, while the server runs.

use crate::support::breakpoint::until;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered};

fn name_of(database: &Database) -> String {
    database.db_texts("SELECT current_database()::text").remove(0)
}

/// One page of each kind, signed in and signed out. Needs the account ada@example.com.
pub fn every_page(server: &Server, browser: &Browser) -> Vec<(String, crate::support::Response)> {
    let mut pages = Vec::new();
    let mut signed_in = browser.clone();
    for path in [
        "/account",
        "/account/profile",
        "/account/sessions",
        "/account/activity",
        "/account/email",
        "/account/password",
        "/account/export",
        "/account/delete",
    ] {
        pages.push((path.to_owned(), signed_in.get(path)));
    }
    pages.push((
        "POST profile".to_owned(),
        signed_in.post("/account/profile", &[("display_name", "Ada L")]),
    ));
    let mut other = server.browser();
    pages.push(("POST login".to_owned(), other.login("ada@example.com", PASSWORD)));
    pages
        .push(("POST wrong".to_owned(), server.browser().login("ada@example.com", OTHER_PASSWORD)));
    let email = format!("new{}@example.com", pages_count());
    let form = [("email", email.as_str()), ("display_name", "New"), ("password", PASSWORD)];
    pages.push(("POST register".to_owned(), server.browser().post("/register", &form)));
    let forgot = server.browser().post("/forgot-password", &[("email", "ada@example.com")]);
    pages.push(("POST forgot".to_owned(), forgot));
    let secret = "A".repeat(43);
    for path in ["/reset-password/", "/verify-email/", "/undo-email-change/", "/invitation/"] {
        pages.push((path.to_owned(), server.browser().get(&format!("{path}{secret}"))));
    }
    pages.push(("POST logout".to_owned(), other.post("/logout", &[])));
    pages
}

fn pages_count() -> u64 {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// A server with its own login, so that the login can be changed.
fn with_own_login(login: &str) -> (Server, Database) {
    let mut database = Database::new();
    database.db_execute(&format!("DROP ROLE IF EXISTS {login}"));
    database.db_execute(&format!("CREATE ROLE {login} LOGIN IN ROLE frontdesk_app"));
    database.server_url = database.server_url.replacen("desk@", &format!("{login}@"), 1);
    (Server::start(&database, &[("FRONTDESK_SESSION_CACHE", "off")]), database)
}

/// Ends the connections of `login`, so that the next ones are opened.
fn db_disconnect(database: &Database, login: &str) {
    database.db_execute(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{login}'"
    ));
}

#[test]
fn while_access_is_refused_or_objects_are_missing_forms_answer_503_and_readyz_says_why() {
    let (server, database) = with_own_login("locked_out");
    let browser = registered(&server, "ada@example.com");
    let name = name_of(&database);
    let cases: [(&str, String, String, &str); 7] = [
        (
            "login",
            "ALTER ROLE locked_out NOLOGIN".into(),
            "ALTER ROLE locked_out LOGIN".into(),
            "refuses this login",
        ),
        (
            "schema",
            "REVOKE USAGE ON SCHEMA public FROM PUBLIC, frontdesk_app".into(),
            "GRANT USAGE ON SCHEMA public TO PUBLIC, frontdesk_app".into(),
            "the schema",
        ),
        (
            "privilege",
            "REVOKE ALL ON users FROM frontdesk_app".into(),
            String::new(),
            "a privilege is missing",
        ),
        (
            "table",
            "ALTER TABLE users RENAME TO users_away".into(),
            "ALTER TABLE users_away RENAME TO users".into(),
            "the schema is incomplete",
        ),
        (
            // pg_restore creates primary keys last.
            "primary key",
            "ALTER TABLE throttles DROP CONSTRAINT throttles_pkey".into(),
            "ALTER TABLE throttles ADD CONSTRAINT throttles_pkey PRIMARY KEY (action, subject)"
                .into(),
            "the schema is incomplete",
        ),
        (
            "column",
            "ALTER TABLE users RENAME COLUMN email_canonical TO away".into(),
            "ALTER TABLE users RENAME COLUMN away TO email_canonical".into(),
            "",
        ),
        (
            "search path",
            format!("ALTER ROLE locked_out IN DATABASE {name} SET search_path = nowhere"),
            format!("ALTER ROLE locked_out IN DATABASE {name} RESET search_path"),
            "the schema",
        ),
    ];
    for (what, close, open, cause) in cases {
        database.db_execute(&close);
        db_disconnect(&database, "locked_out");
        for (page, response) in every_page(&server, &browser) {
            assert!(response.status != 500, "{what}: {page}\n{}", server.log());
            // A forgotten password is only written down; a job reads the account later.
            if ["POST login", "POST register"].contains(&page.as_str()) {
                assert_eq!(response.status, 503, "{what}: {page}");
                assert!(response.header("retry-after").is_some(), "{what}: {page}");
            }
        }
        let ready = server.browser().get("/readyz");
        if !cause.is_empty() {
            assert_eq!(ready.status, 503, "{what}: {}", ready.body);
            assert!(ready.body.contains(cause), "{what}: {}", ready.body);
        }
        if open.is_empty() {
            let grant = frontdesk::db::migrations::grant_roles(&database.pool, None);
            database.runtime.block_on(grant).unwrap();
        } else {
            database.db_execute(&open);
        }
        db_disconnect(&database, "locked_out");
        until(|| server.browser().get("/readyz").status == 200);
        assert!(browser.clone().is_signed_in(), "{what}");
    }
}

#[test]
fn columns_change_their_type_under_load_and_every_page_keeps_working() {
    let database = Database::new();
    let server = Server::start(&database, &[]);
    let cacheless = Server::start(&database, &[("FRONTDESK_SESSION_CACHE", "off")]);
    let browser = registered(&server, "ada@example.com");
    // Columns that views, triggers or constraints need keep their type.
    let columns = database.db_texts(
        "SELECT format('%I ALTER COLUMN %I', table_name, column_name)
           FROM information_schema.columns
          WHERE table_schema = 'public' AND data_type = 'text' AND table_name NOT LIKE '\\_sqlx%'
            AND table_name IN (SELECT relname FROM pg_class WHERE relkind = 'r')",
    );
    let mut changed = 0;
    for kind in ["varchar(500)", "text"] {
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let load: Vec<_> = [&server, &cacheless]
                .map(|server| {
                    let (browser, done) = (browser.on_server(&server.addr), &done);
                    scope.spawn(move || {
                        let mut rounds = 0;
                        while !done.load(std::sync::atomic::Ordering::Relaxed) || rounds < 2 {
                            for (page, response) in every_page(server, &browser) {
                                assert!(
                                    response.status < 500,
                                    "{page}: {}\n{}",
                                    response.status,
                                    server.log()
                                );
                            }
                            rounds += 1;
                        }
                    })
                })
                .into_iter()
                .collect();
            let pool = &database.pool;
            for column in &columns {
                let sql = format!("ALTER TABLE {column} TYPE {kind}");
                let altered = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool);
                changed += usize::from(database.runtime.block_on(altered).is_ok());
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            load.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
    assert!(changed > 20, "{changed} columns of {}", columns.len());
}
