//! Row locks: flows that meet in one account do not deadlock, and a transaction that PostgreSQL cancels because of a
//! conflict is run once more.

use crate::command_line::run;
use crate::support::breakpoint::{Breakpoint, db_until_disconnected, until};
use crate::support::mail::db_mail;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

/// Deadlocks that PostgreSQL found in this database. Its statistics are complete once the connections are closed.
fn db_deadlocks(database: &Database) -> i64 {
    db_until_disconnected(database);
    database.db_count("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
}

#[test]
fn the_deletion_of_an_account_never_deadlocks_with_the_job_that_writes_mail() {
    let database = Database::new();
    {
        let server = Server::start(&database, &[]);
        registered(&server, "ada@example.com");
        registered(&server, "bob@example.com");
    }
    db_until_disconnected(&database);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    // The requests for Ada's email are the oldest.
    for sql in [
        "INSERT INTO registrations (id, ticket_digest, email, email_canonical, display_name, password_hash, created_at, expires_at)
         SELECT gen_random_uuid(), sha256(name::bytea), email, email, 'X', '-', now() - n * interval '1 hour', now() + interval '1 day'
           FROM (VALUES ('ada', 2), ('eve', 1)) AS v (name, n), LATERAL (SELECT name || '@example.com' AS email) AS e",
        "INSERT INTO recovery_requests (id, email_canonical)
         VALUES ('00000000-0000-7000-8000-000000000001', 'ada@example.com'),
                ('00000000-0000-7000-8000-000000000002', 'bob@example.com')",
    ] {
        database.db_execute(sql);
    }
    let breakpoint = Breakpoint::db_at(&database, ("sessions", "BEFORE DELETE"));
    let deleted = std::thread::scope(|scope| {
        let deletion =
            scope.spawn(|| run(&database, &["user", "delete", "ada@example.com", "--yes"], ""));
        breakpoint.until_reached(1);
        let server = Server::start(&database, &[("FRONTDESK_REGISTRATION", "verified")]);
        // The job passes by the requests that the deletion has locked.
        until(|| {
            database.db_count(
                "SELECT count(*) FROM mail_outbox WHERE kind IN ('verify_registration', 'reset_password')",
            ) == 2
        });
        breakpoint.release();
        let deleted = deletion.join().unwrap();
        drop(server);
        deleted
    });
    assert_eq!(deleted.code, 0, "{}", deleted.error);
    let left = |table| {
        database.db_count(&format!(
            "SELECT count(*) FROM {table} WHERE email_canonical = 'ada@example.com'"
        ))
    };
    for table in ["users", "registrations", "recovery_requests"] {
        assert_eq!(left(table), 0, "{table}");
    }
    assert_eq!(
        database.db_texts("SELECT kind FROM mail_outbox WHERE recipient = 'ada@example.com'"),
        ["account_deleted"]
    );
    assert_eq!(db_deadlocks(&database), 0);
}

/// What may happen to an account while it is being deleted. Each returns the status, or 0 for a command.
type Flow = fn(&Server, &Database, Browser, &str) -> u16;

fn command(database: &Database, arguments: &[&str]) -> u16 {
    let output = run(database, arguments, "");
    assert!([0, 3].contains(&output.code), "{arguments:?}: {}", output.error);
    0
}

const FLOWS: [(&str, Flow); 11] = [
    ("profile", |_, _, mut browser, _| {
        browser.post("/account/profile", &[("display_name", "Ada Two")]).status
    }),
    ("password", |_, _, mut browser, _| {
        let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
        browser.post("/account/password", &fields).status
    }),
    ("sign out everywhere else", |_, _, mut browser, _| {
        browser.post("/account/sessions/revoke-others", &[]).status
    }),
    ("sign out", |_, _, mut browser, _| browser.post("/logout", &[]).status),
    ("sign in", |server, _, _, email| server.browser().login(email, PASSWORD).status),
    ("request deletion", |_, _, mut browser, _| browser.post("/account/delete", &[]).status),
    ("export", |_, _, mut browser, _| browser.post("/account/export", &[]).status),
    ("change email", |_, _, mut browser, email| {
        browser.post("/account/email", &[("email", &format!("new-{email}"))]).status
    }),
    ("request that email", |server, _, _, email| {
        let mut other = registered(server, &format!("other-{email}"));
        other.post("/account/email", &[("email", email)]).status
    }),
    ("disable", |_, database, _, email| command(database, &["user", "disable", email])),
    ("promote", |_, database, _, email| command(database, &["user", "promote", email])),
];

#[test]
fn a_password_reset_locks_the_counters_of_the_account_before_its_limits_of_mail() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    server.browser().post("/forgot-password", &[("email", "ada@example.com")]);
    let link = format!("/reset-password/{}", db_mail(&database, "reset_password", 1).text("token"));
    assert_eq!(server.browser().login("ada@example.com", OTHER_PASSWORD).status, 422);
    let fields = [("new_password", OTHER_PASSWORD)];
    let breakpoint = Breakpoint::db_at(&database, ("throttles", "BEFORE DELETE"));
    std::thread::scope(|scope| {
        let reset = scope.spawn(|| server.browser().post(&link, &fields).status);
        breakpoint.until_reached(1);
        assert!(database.db_count("SELECT count(*) FROM mail_limits") > 0);
        // Fails if one of them is locked.
        database.db_execute("SELECT FROM mail_limits FOR UPDATE NOWAIT");
        breakpoint.release();
        assert_eq!(reset.join().unwrap(), 303);
    });
}

#[test]
fn no_flow_deadlocks_with_the_deletion_of_its_account() {
    let (server, database) = site();
    let blocked = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event <> 'advisory'";
    for (number, (name, flow)) in FLOWS.into_iter().enumerate() {
        for stop in ["sessions", "mail_outbox", "users"] {
            let email = format!("ada{number}-{stop}@example.com").replace('_', "-");
            let browser = registered(&server, &email);
            let breakpoint = Breakpoint::db_at(&database, (stop, "BEFORE DELETE"));
            std::thread::scope(|scope| {
                let deletion =
                    scope.spawn(|| command(&database, &["user", "delete", &email, "--yes"]));
                breakpoint.until_reached(1);
                let flow = scope.spawn(|| flow(&server, &database, browser, &email));
                until(|| flow.is_finished() || database.db_count(blocked) > 0);
                breakpoint.release();
                deletion.join().unwrap();
                let status = flow.join().unwrap();
                assert!(status < 500, "{name}, deletion at {stop}: {status}");
            });
            database.db_execute(&format!("DROP TRIGGER stop ON {stop}"));
            let left = format!("SELECT count(*) FROM users WHERE email = '{email}'");
            assert_eq!(database.db_count(&left), 0, "{name}, deletion at {stop}");
            crate::support::mail::db_clear_rate_limits(&database);
        }
    }
    drop(server);
    assert_eq!(db_deadlocks(&database), 0);
}

/// From now on, the first `times` rows written to `table` fail with `code`, as a conflict with a concurrent transaction
/// does. A sequence counts them, because it is not rolled back.
fn db_fail_first(database: &Database, table: &str, code: &str, times: u32) {
    for sql in [
        "DROP SEQUENCE IF EXISTS failures",
        "CREATE SEQUENCE failures",
        "CREATE OR REPLACE FUNCTION fail_first() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
         'BEGIN
              IF nextval(''failures'') <= TG_ARGV[1]::integer THEN
                  RAISE EXCEPTION ''a conflict'' USING ERRCODE = TG_ARGV[0];
              END IF;
              RETURN coalesce(NEW, OLD);
          END'",
    ] {
        database.db_execute(sql);
    }
    database.db_execute(&format!(
        "CREATE OR REPLACE TRIGGER conflict BEFORE INSERT OR UPDATE OR DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION fail_first('{code}', '{times}')"
    ));
}

#[test]
fn a_transaction_that_loses_a_conflict_is_run_again_once_and_is_503_if_it_loses_again() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let name = |expected: &str| {
        assert_eq!(database.db_texts("SELECT display_name FROM users"), [expected]);
    };
    for code in ["40P01", "40001"] {
        for table in ["users", "sessions", "audit_events", "throttles", "email_tokens"] {
            let mut act = |new: &str| match table {
                "users" => ada.post("/account/profile", &[("display_name", new)]),
                "email_tokens" => ada.post("/account/email/verify", &[]),
                _ => server.browser().login("ada@example.com", PASSWORD),
            };
            db_fail_first(&database, table, code, 1);
            let retried = act("Once");
            assert_eq!(retried.status, 303, "{code} {table}: {}", retried.body);
            db_fail_first(&database, table, code, 2);
            let refused = act("Twice");
            assert_eq!(refused.status, 503, "{code} {table}: {}", refused.body);
            assert!(refused.header("retry-after").is_some() && refused.cookies().is_empty());
            database.db_execute(&format!("DROP TRIGGER conflict ON {table}"));
            crate::support::mail::db_clear_rate_limits(&database);
        }
        name("Once");
    }
    assert!(ada.is_signed_in());
    // A statement without a transaction.
    db_fail_first(&database, "recovery_requests", "40P01", 1);
    let mut browser = server.browser();
    assert_eq!(browser.post("/forgot-password", &[("email", "ada@example.com")]).status, 303);
}
