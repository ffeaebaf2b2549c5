//! Users with many sessions: all of them end in one statement, and sign-ins keep to the limit per user.

use crate::command_line::run;
use crate::costs::statements;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

const EMAIL: &str = "ada@example.com";
/// More than the notifications of one statement name, and more than one sign-in ends.
const MANY: i64 = 500;

/// Inserts `count` sessions of [`EMAIL`]; number n was last seen n seconds ago. Their `User-Agent` is the number.
fn db_insert_sessions(database: &Database, count: i64) {
    let inserted = database.db_execute(&format!(
        "INSERT INTO sessions (token_digest, id, user_id, authenticated_at, auth_methods, user_agent, last_seen_at,
                               idle_timeout, expires_at, absolute_expires_at)
         SELECT sha256(gen_random_uuid()::text::bytea), gen_random_uuid(), u.id, now(), '{{pwd}}', n::text,
                now() - make_interval(secs => n), interval '1 day', now() + interval '1 day', now() + interval '1 day'
           FROM generate_series(1, {count}) AS n, users u
          WHERE u.email = '{EMAIL}'
          ORDER BY random()"
    ));
    assert_eq!(inserted as i64, count);
}

fn db_count_sessions(database: &Database) -> i64 {
    database.db_count("SELECT count(*) FROM sessions")
}

fn db_count_ended(database: &Database, cause: &str) -> i64 {
    database.db_count(&format!(
        "SELECT count(*) FROM audit_events WHERE event = 'session_ended' AND details->>'cause' = '{cause}'"
    ))
}

fn limited_site(limit: &str) -> (Server, Database) {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_SESSIONS_PER_USER", limit)]);
    (server, database)
}

fn log_in(server: &Server) -> Browser {
    let mut browser = server.browser();
    assert_eq!(browser.login(EMAIL, PASSWORD).status, 303);
    browser
}

#[test]
fn every_way_to_end_many_sessions_takes_one_statement_and_records_each() {
    let (server, database) = site();
    registered(&server, EMAIL);
    let page = |path: &'static str, fields: &'static [(&str, &str)]| {
        move |browser: &mut Browser, _: &Database| {
            assert_eq!(browser.post(path, fields).status, 303, "{path}");
        }
    };
    let command = |arguments: &'static [&str], input: &'static str| {
        move |_: &mut Browser, database: &Database| {
            let output = run(database, arguments, input);
            assert_eq!(output.code, 0, "{arguments:?}: {}", output.error);
        }
    };
    // How, the cause, and whether the current session ends, too.
    type Way<'a> = (&'a str, bool, Box<dyn Fn(&mut Browser, &Database)>);
    let change = &[("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    let ways: [Way<'_>; 8] = [
        ("revoked", false, Box::new(page("/account/sessions/revoke-others", &[]))),
        ("password_changed", false, Box::new(page("/account/password", change))),
        ("password_reset", true, Box::new(command(&["user", "set-password", EMAIL], PASSWORD))),
        ("revoked", true, Box::new(command(&["session", "revoke", "--user", EMAIL], ""))),
        ("role_changed", true, Box::new(command(&["user", "promote", EMAIL], ""))),
        ("disabled", true, Box::new(command(&["user", "disable", EMAIL], ""))),
        ("deletion_requested", true, Box::new(page("/account/delete", &[]))),
        ("deleted", true, Box::new(command(&["user", "delete", EMAIL, "--yes"], ""))),
    ];
    let ends = "%DELETE FROM sessions%WHERE user_id = $7%INSERT INTO audit_events%";
    for (cause, with_current, end) in ways {
        run(&database, &["user", "enable", EMAIL], "");
        assert_eq!(run(&database, &["user", "set-password", EMAIL], PASSWORD).code, 0);
        database.db_execute("DELETE FROM sessions");
        let mut browser = log_in(&server);
        db_insert_sessions(&database, MANY);
        let expected = MANY + i64::from(with_current);
        let before = (db_count_ended(&database, cause), statements(&database, ends));
        end(&mut browser, &database);
        assert_eq!(db_count_sessions(&database), i64::from(!with_current), "{cause}");
        assert_eq!(db_count_ended(&database, cause) - before.0, expected, "{cause}");
        assert_eq!(statements(&database, ends) - before.1, 1, "{cause}");
    }
}

#[test]
fn a_sign_in_beyond_the_limit_ends_the_session_seen_longest_ago_and_says_so() {
    let (server, database) = limited_site("4");
    registered(&server, EMAIL);
    database.db_execute("DELETE FROM sessions");
    db_insert_sessions(&database, 3);
    let mut fourth = log_in(&server);
    assert_eq!(db_count_ended(&database, "session_limit"), 0);
    assert!(fourth.get("/account/sessions").body.contains("at most 4 devices"));
    let mut fifth = server.browser();
    let response = fifth.login(EMAIL, PASSWORD);
    let page = fifth.get(response.location());
    assert!(page.body.contains("Signed out of your least recently used device"), "{}", page.body);
    assert_eq!(
        database
            .db_texts("SELECT user_agent FROM sessions WHERE user_agent ~ '^[0-9]+$' ORDER BY 1"),
        ["1", "2"]
    );
    assert!(fourth.is_signed_in());
    assert_eq!(db_count_ended(&database, "session_limit"), 1);
    let activity = fifth.get("/account/activity");
    assert!(activity.body.contains("Session ended: signed in on too many devices"));
    // The session that the limit ended is refused by the server that had it cached.
    database.db_execute("UPDATE sessions SET last_seen_at = now() + interval '1 minute' WHERE user_agent ~ '^[0-9]+$'");
    database.db_execute("UPDATE sessions SET last_seen_at = now() - interval '1 minute' WHERE user_agent !~ '^[0-9]+$'");
    for _ in 0..2 {
        log_in(&server);
    }
    assert!(!fourth.is_signed_in() && !fifth.is_signed_in());
}

#[test]
fn a_sign_in_ends_at_most_100_of_20000_sessions() {
    let (server, database) = limited_site("100");
    registered(&server, EMAIL);
    database.db_execute("DELETE FROM sessions");
    db_insert_sessions(&database, 20_000);
    database.db_execute("ANALYZE sessions");
    for sign_in in 1..=2 {
        log_in(&server);
        assert_eq!(db_count_sessions(&database), 20_000 - 99 * sign_in);
    }
    let kept = "SELECT max(user_agent::int) FROM sessions WHERE user_agent ~ '^[0-9]+$'";
    assert_eq!(database.db_texts(&format!("SELECT ({kept})::text")), ["19800"]);
    assert_eq!(db_count_ended(&database, "session_limit"), 200);
}

#[test]
fn simultaneous_sign_ins_keep_to_the_limit() {
    let (server, database) = limited_site("3");
    registered(&server, EMAIL);
    for _ in 0..2 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| log_in(&server));
            }
        });
        assert_eq!(db_count_sessions(&database), 3);
    }
}

#[test]
fn expired_sessions_and_locked_ones_do_not_count_against_a_sign_in() {
    let (server, database) = limited_site("2");
    registered(&server, EMAIL);
    database.db_execute("DELETE FROM sessions");
    db_insert_sessions(&database, 5);
    database.db_execute(
        "UPDATE sessions SET expires_at = now() - interval '1 second' WHERE user_agent::int > 1",
    );
    log_in(&server);
    assert_eq!(db_count_ended(&database, "session_limit"), 0);
    // A transaction in psql holds the row that would end: the sign-in does not wait for it.
    let held = database.db_begin("SELECT FROM sessions WHERE user_agent = '1' FOR UPDATE");
    log_in(&server);
    assert_eq!(db_count_ended(&database, "session_limit"), 0);
    held.rollback();
    log_in(&server);
    assert_eq!(db_count_ended(&database, "session_limit"), 2);
}

#[test]
fn without_a_limit_no_sign_in_ends_a_session() {
    let (server, database) = limited_site("0");
    registered(&server, EMAIL);
    db_insert_sessions(&database, 150);
    log_in(&server);
    assert_eq!(db_count_sessions(&database), 152);
}
