//! One row that makes every statement fail that processes it, in each queue and each job that takes the oldest rows
//! first: the rows behind it are processed.

use std::fs;

use actix_session::storage::SessionStore as _;
use frontdesk::db;
use frontdesk::session::purge::{self, Pace};
use frontdesk::session::{PgSessionStore, Timeouts};
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;

use crate::mail::{changed, frontdesk};
use crate::purge::key;
use crate::support::folder::new_folder;
use crate::support::smtp::until;
use crate::support::{Database, PASSWORD, Server, registered};

/// A function for triggers that fail.
const FAIL: &str = "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''this row is poisoned''; END'";

/// Makes `statement` on `table` fail for the rows for which `condition` holds.
fn poison(database: &Database, table: &str, statement: &str, condition: &str) {
    database.db_execute(&format!(
        "CREATE TRIGGER a_poisoned_row BEFORE {statement} ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION fail()"
    ));
}

/// Every row that failed in a queue, as `frontdesk queue list` shows it.
fn failed(database: &Database) -> Vec<Value> {
    let (code, out, _) = frontdesk(database, &[], &["queue", "list", "--json"]);
    assert_eq!(code, 0, "{out}");
    serde_json::from_str(&out).unwrap()
}

/// What `doctor` says about the queues.
fn doctor(database: &Database) -> String {
    let (_, out, _) = frontdesk(database, &[], &["doctor"]);
    out.lines().filter(|line| line.contains("  queues  ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_row_that_always_fails_is_set_aside_and_no_row_of_any_queue_waits_for_it() {
    let database = Database::new();
    database.db_execute(FAIL);
    let server = Server::start(
        &database,
        &[("FRONTDESK_REGISTRATION", "verified"), ("FRONTDESK_PURGE_INTERVAL", "1s")],
    );
    assert!(doctor(&database).starts_with("ok"), "{}", doctor(&database));
    poison(&database, "registrations", "UPDATE", "OLD.email LIKE 'poison%'");
    // Fails only when the transaction commits.
    database.db_execute(
        "CREATE CONSTRAINT TRIGGER a_poisoned_row AFTER DELETE ON recovery_requests DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW WHEN (OLD.email_canonical LIKE 'poison%') EXECUTE FUNCTION fail()",
    );
    poison(&database, "users", "DELETE", "OLD.email LIKE 'poison%'");
    // The poisoned rows are the oldest ones.
    database.db_execute(
        "INSERT INTO registrations (id, ticket_digest, email, email_canonical, display_name, password_hash, created_at, expires_at)
         SELECT gen_random_uuid(), sha256(name::bytea), name || '@example.com', name || '@example.com', 'Ada', '-',
                now() - make_interval(secs => 10 - number), now() + interval '1 day'
           FROM unnest(ARRAY['poison', 'first', 'second']) WITH ORDINALITY AS n (name, number)",
    );
    database.db_execute(
        "INSERT INTO recovery_requests (id, email_canonical)
         SELECT ('00000000-0000-7000-8000-00000000000' || number)::uuid, name || '@example.com'
           FROM unnest(ARRAY['poison', 'first', 'second']) WITH ORDINALITY AS n (name, number)",
    );
    database.db_execute(
        "INSERT INTO users (id, email, email_canonical, display_name, deletion_due_at)
         SELECT gen_random_uuid(), name || '@due.example', name || '@due.example', 'Ada',
                now() - make_interval(secs => 10 - number)
           FROM unnest(ARRAY['poison', 'first', 'second']) WITH ORDINALITY AS n (name, number)",
    );
    for (queue, left) in [
        ("registrations", "SELECT count(*) FROM registrations WHERE mailed_at IS NULL"),
        ("recovery_requests", "SELECT count(*) FROM recovery_requests"),
        ("deletions", "SELECT count(*) FROM users WHERE deletion_due_at IS NOT NULL"),
    ] {
        until(&format!("the others in {queue} are processed"), || database.db_count(left) == 1);
    }
    until("each failure is counted", || failed(&database).len() == 3);
    assert!(
        failed(&database).iter().all(|row| row["set_aside"] == false),
        "{:?}",
        failed(&database)
    );
    assert!(
        doctor(&database).starts_with("warning  queues    3 row(s) failed"),
        "{}",
        doctor(&database)
    );

    // After the fourth failure comes the last attempt.
    database.db_execute("UPDATE queue_failures SET attempts = 4, next_attempt_at = now()");
    until("they are set aside", || {
        failed(&database).iter().all(|row| row["set_aside"] == true && row["attempts"] == 5)
    });
    for row in failed(&database) {
        let id = row["id"].as_str().unwrap();
        assert!(row["last_error"].as_str().unwrap().contains("this row is poisoned"), "{row}");
        until("the log names it", || server.log().contains(&format!("frontdesk queue retry {id}")));
        assert!(doctor(&database).contains(id), "{}", doctor(&database));
        assert!(row["drop"].as_str().unwrap().contains(id), "{row}");
    }
    assert!(doctor(&database).starts_with("problem"), "{}", doctor(&database));
    assert!(!server.log().contains("poison@"), "{}", server.log());

    for table in ["registrations", "recovery_requests", "users"] {
        database.db_execute(&format!("DROP TRIGGER a_poisoned_row ON {table}"));
    }
    assert_eq!(frontdesk(&database, &[], &["queue", "retry", "--all"]).0, 0);
    assert_eq!(frontdesk(&database, &[], &["queue", "retry", "--all"]).0, 3, "none has failed");
    until("the last ones are processed", || {
        database.db_count(
            "SELECT (SELECT count(*) FROM registrations WHERE mailed_at IS NULL) + (SELECT count(*) FROM recovery_requests)
                  + (SELECT count(*) FROM users WHERE deletion_due_at IS NOT NULL)",
        ) == 0
    });
}

#[test]
fn password_resets_that_wait_for_a_lock_delay_no_mail_of_a_registration() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_REGISTRATION", "verified")]);
    database.db_execute(
        "INSERT INTO users (id, email, email_canonical, display_name) VALUES
         (gen_random_uuid(), 'eve@example.com', 'eve@example.com', 'Eve')",
    );
    let locked = database.db_begin("SELECT FROM users FOR UPDATE");
    database.db_execute(
        "INSERT INTO recovery_requests (id, email_canonical)
         SELECT gen_random_uuid(), 'eve@example.com' FROM generate_series(1, 40)",
    );
    until("the job waits for the lock", || {
        database.db_count(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        ) > 0
    });
    let fields = [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
    assert_eq!(server.browser().post("/register", &fields).status, 303);
    until("the mail of the registration is written", || {
        database.db_count("SELECT count(*) FROM mail_outbox WHERE kind = 'verify_registration'")
            == 1
    });
    // A round of a queue ends after twenty failures. The one of the password resets is not over.
    assert!(database.db_count("SELECT count(*) FROM queue_failures") < 20);
    drop(locked);
}

#[test]
fn a_failure_is_forgotten_once_its_row_has_left_the_queue() {
    let database = Database::new();
    database.db_execute(
        "INSERT INTO users (id, email, email_canonical, display_name, deletion_due_at)
         VALUES ('00000000-0000-7000-8000-000000000001', 'a@example.com', 'a@example.com', 'Ada', now() + interval '1 day')",
    );
    database.db_execute(
        "INSERT INTO queue_failures (queue, row_id, attempts, last_error)
         SELECT queue, ('00000000-0000-7000-8000-00000000000' || number)::uuid, 5, 'poisoned'
           FROM unnest(ARRAY['registrations', 'recovery_requests', 'deletions']) AS queue, generate_series(1, 2) AS number",
    );
    let _server = Server::start(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s")]);
    until("only the one of the scheduled deletion is left", || {
        database.db_texts("SELECT queue || row_id FROM queue_failures")
            == ["deletions00000000-0000-7000-8000-000000000001"]
    });
}

#[test]
fn a_row_that_cannot_be_deleted_stops_no_purge() {
    let database = Database::new();
    database.db_execute(FAIL);
    let fill = [
        "INSERT INTO users (id, email, email_canonical, display_name) VALUES (gen_random_uuid(), 'a@b.c', 'a@b.c', 'Ada')",
        "INSERT INTO throttles (action, subject, tries, free_at, tried_at, forget_at)
         SELECT 'sign_in', sha256(n::text::bytea), n, now(), now(), now() - make_interval(secs => 100 - n)
           FROM generate_series(1, 20) AS n",
        "INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, code_tries, expires_at)
         SELECT sha256(n::text::bytea), 'undo_email_change', u.id, u.email, u.email, n, now() - make_interval(secs => 100 - n)
           FROM users u, generate_series(1, 20) AS n",
        "INSERT INTO registrations (id, ticket_digest, code_tries, email, email_canonical, display_name, password_hash, mailed_at, expires_at)
         SELECT gen_random_uuid(), sha256(n::text::bytea), n, 'a@b.c', 'a@b.c', 'Ada', '-', now(), now() - make_interval(secs => 100 - n)
           FROM generate_series(1, 20) AS n",
        "INSERT INTO mail_outbox (id, kind, recipient, state, attempts, finished_at)
         SELECT gen_random_uuid(), 'new_device', 'a@b.c', 'sent', n, now() - interval '31 days' - make_interval(secs => 100 - n)
           FROM generate_series(1, 20) AS n",
        "INSERT INTO suppressed_recipients (email_canonical, reason, bounces, suppressed_until)
         SELECT n || '@b.c', 'bounced', n, now() - interval '61 days' - make_interval(secs => 100 - n)
           FROM generate_series(1, 20) AS n",
    ];
    for statement in fill {
        database.db_execute(statement);
    }
    // The number of each row is in a column. Rows 1 and 7 are poisoned.
    let tables = [
        ("throttles", "tries"),
        ("email_tokens", "code_tries"),
        ("registrations", "code_tries"),
        ("mail_outbox", "attempts"),
        ("suppressed_recipients", "bounces"),
    ];
    for (table, number) in tables {
        poison(&database, table, "DELETE", &format!("OLD.{number} IN (1, 7)"));
    }
    let server = Server::start(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s")]);
    for (table, number) in tables {
        until(&format!("the others of {table} are deleted"), || {
            database.db_texts(&format!("SELECT {number}::text FROM {table} ORDER BY {number}"))
                == ["1", "7"]
        });
    }
    until("the log says it", || {
        server.log().contains("finished mail: 2 row(s) cannot be deleted and were skipped")
    });
}

#[test]
fn an_expired_session_that_cannot_be_deleted_stops_no_purge_of_sessions() {
    let database = Database::new();
    database.db_execute(FAIL);
    database.db_execute(
        "INSERT INTO sessions (token_digest, id, user_agent, expires_at, absolute_expires_at, idle_timeout)
         SELECT sha256(n::text::bytea), gen_random_uuid(), n::text, now() - interval '3 hours', now() + interval '1 day', interval '2 hours'
           FROM generate_series(1, 20) AS n",
    );
    poison(&database, "sessions", "DELETE", "OLD.user_agent = '7'");
    let _on = database.runtime.enter();
    let purged =
        database.runtime.block_on(purge::run_once(&database.pool, Pace::Full, |_| ())).unwrap();
    assert_eq!(purged.rows, 19);
    assert_eq!(database.db_texts("SELECT user_agent FROM sessions"), ["7"]);
}

#[test]
fn a_session_whose_activity_cannot_be_written_lets_no_other_session_expire() {
    let database = Database::new();
    let server = Server::start(&database, &[]);
    registered(&server, "ada@example.com");
    drop(server);
    database.db_execute(FAIL);
    let cookies = database.db_create_sessions_seen("ada@example.com", 20, "10 minutes");
    database.db_execute(
        "UPDATE sessions SET user_agent = '7'
          WHERE token_digest = (SELECT token_digest FROM sessions WHERE last_seen_at < now() - interval '5 minutes' ORDER BY token_digest LIMIT 1 OFFSET 7)",
    );
    poison(&database, "sessions", "UPDATE", "OLD.user_agent = '7'");
    database.runtime.block_on(async {
        let options: PgConnectOptions = database.url.parse().unwrap();
        let store = PgSessionStore::new(db::pool(options, 2), Timeouts::default(), None);
        for cookie in &cookies {
            assert!(store.load(&key(cookie)).await.unwrap().is_some());
        }
        store.last_seen().flush().await.unwrap();
    });
    let late = "SELECT user_agent FROM sessions WHERE last_seen_at < now() - interval '5 minutes'";
    assert_eq!(database.db_texts(late), ["7"]);
}

#[test]
fn a_mail_that_cannot_be_leased_delays_no_other_mail() {
    let database = Database::new();
    database.db_execute(FAIL);
    let folder = new_folder("poisoned-mail");
    for name in ["poison", "poison2", "ada", "bob"] {
        database.db_enqueue(&format!("{name}@example.com"), &changed("Ada"));
    }
    poison(&database, "mail_outbox", "UPDATE", "OLD.recipient LIKE 'poison%'");
    let server = Server::start(&database, &[("FRONTDESK_MAIL_DIR", folder.to_str().unwrap())]);
    until("the others are sent", || database.db_mails("sent") == 2);
    for number in 0..20 {
        database.db_enqueue(&format!("user{number}@example.com"), &changed("Ada"));
    }
    until("and those that follow", || database.db_mails("sent") == 22);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 22);
    assert!(server.log().contains("a mail cannot be leased"), "{}", server.log());
}

#[test]
fn a_line_that_the_database_refuses_is_rejected_and_the_others_are_imported() {
    let database = Database::new();
    database.db_execute(FAIL);
    poison(&database, "users", "INSERT", "NEW.email LIKE 'poison%'");
    let folder = new_folder("poisoned-import");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("users.csv");
    fs::write(&file, "email\nada@example.com\npoison@example.com\nbob@example.com\n").unwrap();
    let (code, out, error) = frontdesk(&database, &[], &["user", "import", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{out}{error}");
    assert!(error.contains("Line 3: the database refuses it: this row is poisoned"), "{error}");
    assert_eq!(
        database.db_texts("SELECT email FROM users ORDER BY email"),
        ["ada@example.com", "bob@example.com"]
    );
}

#[test]
fn an_account_that_cannot_be_changed_does_not_stop_require_new_password_all() {
    let database = Database::new();
    database.db_execute(FAIL);
    database.db_execute(
        "INSERT INTO users (id, email, email_canonical, display_name, password_hash)
         SELECT ('00000000-0000-7000-8000-00000000000' || number)::uuid, name || '@example.com', name || '@example.com', 'Ada', '$argon2id$'
           FROM unnest(ARRAY['poison', 'ada', 'bob']) WITH ORDINALITY AS n (name, number)",
    );
    poison(&database, "users", "UPDATE", "OLD.email LIKE 'poison%'");
    let arguments = ["user", "require-new-password", "--all", "--yes"];
    let (code, out, error) = frontdesk(&database, &[], &arguments);
    assert_eq!(code, 1, "{out}{error}");
    assert!(out.contains("2 account(s) need a new password"), "{out}{error}");
    assert!(error.contains("1 account(s) could not be changed"), "{error}");
    assert!(error.contains("00000000-0000-7000-8000-000000000001"), "the log names it: {error}");
    assert_eq!(
        database.db_texts("SELECT email FROM users WHERE password_hash IS NOT NULL"),
        ["poison@example.com"]
    );
}
