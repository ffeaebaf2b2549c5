//! PostgreSQL's notification queue is full: a listening connection of any application stays in a transaction,
//! and every commit that notifies fails with 54000. Here a function in front of `pg_notify` simulates this;
//! `tests/long` fills the real queue.

use sqlx::AssertSqlSafe;

use crate::command_line;
use crate::revocation::with_cookie;
use crate::support::breakpoint::until;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered};

const EMAIL: &str = "ada@example.com";

/// From now on, commits whose notification matches this LIKE pattern fail; an empty pattern matches none.
fn refuse(database: &Database, message: &str) {
    let set = sqlx::query("UPDATE refused SET message = $1").bind(message);
    database.runtime.block_on(set.execute(&database.pool)).unwrap();
}

/// A database that can simulate a full notification queue.
fn new_database() -> Database {
    let database = Database::new();
    let name = database.db_texts("SELECT current_database()::text").remove(0);
    let statements = [
        "CREATE TABLE refused (message text NOT NULL)",
        "INSERT INTO refused VALUES ('')",
        "CREATE TABLE notified (message text)",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             RAISE EXCEPTION 'too many notifications in the NOTIFY queue' USING ERRCODE = '54000';
         END $$",
        // Deferred, because PostgreSQL too fails at the commit.
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON notified DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION refuse()",
        "CREATE FUNCTION public.pg_notify(channel text, message text) RETURNS void
         LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN
             INSERT INTO public.notified
             SELECT $2 FROM public.refused AS r WHERE r.message <> '' AND $2 LIKE r.message;
             PERFORM pg_catalog.pg_notify($1, $2);
         END $$",
        &format!("ALTER DATABASE {name} SET search_path = public, pg_catalog"),
        // It has a search path of its own.
        "ALTER FUNCTION announce_change(text, text) SET search_path = public, pg_catalog, pg_temp",
    ];
    for statement in statements {
        let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&database.pool);
        database.runtime.block_on(done).unwrap();
    }
    database
}

fn is_live(server: &Server) -> bool {
    server.browser().get("/readyz").body.contains("\"sessions\":\"trusted\"")
}

#[test]
fn everything_works_and_revocation_is_final_while_the_notification_queue_is_full() {
    let database = new_database();
    let servers = [0, 1].map(|_| Server::start(&database, &[]).until_live());
    let mut ada = registered(&servers[0], EMAIL);
    let cookies = database.db_create_sessions(EMAIL, 3);
    for cookie in &cookies {
        assert!(servers.iter().all(|server| with_cookie(server, cookie).is_signed_in()));
    }
    let is_accepted = |cookie: &str| {
        servers
            .iter()
            .any(|server| with_cookie(server, cookie).get("/account/profile").status == 200)
    };
    refuse(&database, "%");
    assert_eq!(with_cookie(&servers[0], &cookies[0]).post("/logout", &[]).status, 303);
    assert!(!is_accepted(&cookies[0]), "signed out");
    assert_eq!(ada.post("/account/profile", &[("display_name", "Countess")]).status, 303);
    assert!(ada.get("/account/profile").body.contains("Countess"));
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(ada.post("/account/password", &fields).status, 303);
    assert!(!is_accepted(&cookies[1]), "the password was changed");
    assert_eq!(server_login(&servers[1], OTHER_PASSWORD), 303);
    let output = command_line::run(&database, &["user", "disable", EMAIL], "");
    assert_eq!(output.code, 0, "{}", output.error);
    assert!(!is_accepted(&cookies[2]) && !ada.is_signed_in(), "disabled");
    until(|| servers.iter().all(|server| !is_live(server)));
    assert!(servers[0].log().contains("notification queue is full"), "{}", servers[0].log());

    refuse(&database, "");
    until(|| servers.iter().all(is_live));
}

fn server_login(server: &Server, password: &str) -> u16 {
    server.browser().login(EMAIL, password).status
}

/// Only the notifications of sessions fail: heartbeats and the messages of the barrier get through, so the
/// other server uses its cache all the time.
#[test]
fn a_change_without_a_notification_is_visible_on_every_server_once_answered() {
    let database = new_database();
    let servers = [0, 1].map(|_| Server::start(&database, &[]).until_live());
    registered(&servers[0], EMAIL);
    let cookies = database.db_create_sessions(EMAIL, 40);
    refuse(&database, "sessions:%");
    for (number, cookie) in cookies.iter().enumerate() {
        assert!(servers.iter().all(|server| with_cookie(server, cookie).is_signed_in()));
        let revoking = &servers[number % 2];
        assert_eq!(with_cookie(revoking, cookie).post("/logout", &[]).status, 303);
        for server in &servers {
            assert_eq!(with_cookie(server, cookie).get("/account/profile").status, 303);
        }
    }
    until(|| servers.iter().all(is_live));
    assert_eq!(database.db_count("SELECT resets FROM session_cache_resets"), 40);
    for server in &servers {
        assert!(!server.log().contains("did not confirm that it invalidated"), "{}", server.log());
    }
}
