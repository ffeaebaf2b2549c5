//! Account deletion: request, cancellation and the deletion itself.

use std::time::{Duration, Instant};

use crate::command_line::run;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};
use frontdesk::crypto::secret::Secret;

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20), "timed out: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every row of every table as text, each after the name of its table.
fn all_rows(database: &Database) -> Vec<String> {
    let tables = database.db_texts(
        "SELECT table_name::text FROM information_schema.tables
          WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1",
    );
    assert!(tables.len() > 8, "{tables:?}");
    let rows = |table: &String| {
        database.db_texts(&format!("SELECT '{table} ' || to_jsonb(t)::text FROM {table} AS t"))
    };
    tables.iter().flat_map(rows).collect()
}

/// The rows that contain `text`, without regard to case.
fn rows_containing(database: &Database, text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    all_rows(database).into_iter().filter(|row| row.to_lowercase().contains(&text)).collect()
}

#[test]
fn a_deletion_request_signs_out_everywhere_and_signing_in_leads_to_cancellation() {
    let database = Database::new();
    let servers =
        [Server::start(&database, &[]).until_live(), Server::start(&database, &[]).until_live()];
    let mut first = registered(&servers[0], "ada@example.com");
    database.db_execute("UPDATE users SET email_verified_at = now()");
    let mut second = servers[1].browser();
    second.login("ada@example.com", PASSWORD);
    let page = first.get("/account/delete");
    for words in ["ada@example.com", "ADA", "on all 2 devices", "After 7 days", "Delete my account"]
    {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    assert_eq!(
        database.db_count("SELECT count(*) FROM users WHERE deletion_due_at IS NOT NULL"),
        0
    );

    let response = first.post("/account/delete", &[]);
    assert_eq!((response.status, response.location()), (303, "/"));
    assert_eq!(response.header("clear-site-data"), Some("\"cache\""));
    assert!(first.session().is_none(), "the cookie is deleted");
    assert!(first.get("/").body.contains("To keep it, sign in before then."));
    for server in &servers {
        assert!(!first.on_server(&server.addr).is_signed_in());
        assert!(!second.on_server(&server.addr).is_signed_in());
    }
    let days =
        "SELECT round(EXTRACT(EPOCH FROM deletion_due_at - now()) / 86400)::bigint FROM users";
    assert_eq!(database.db_count(days), 7);
    let mails =
        "SELECT kind || ' ' || recipient FROM mail_outbox WHERE kind LIKE 'deletion%' ORDER BY id";
    assert_eq!(database.db_texts(mails), ["deletion_scheduled ada@example.com"]);

    let response = second.post(
        "/login",
        &[("email", "ada@example.com"), ("password", PASSWORD), ("next", "/account/profile")],
    );
    assert_eq!((response.status, response.location()), (303, "/account/delete"));
    let page = second.get("/account/delete");
    assert!(page.body.contains("Keep my account") && !page.body.contains("Delete my account"));
    // A second request keeps the first date and sends no mail.
    database.db_execute("UPDATE users SET deletion_due_at = now() + interval '2 days'");
    assert_eq!(first.login("ada@example.com", PASSWORD).status, 303);
    assert_eq!(second.post("/account/delete", &[]).status, 303);
    assert_eq!(database.db_count(days), 2);
    assert!(second.get("/").body.contains("You&#39;re signed out everywhere."));
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0, "every session is deleted");
    for server in &servers {
        assert!(!first.on_server(&server.addr).is_signed_in());
        assert!(!second.on_server(&server.addr).is_signed_in());
    }

    second.login("ada@example.com", PASSWORD);
    assert_eq!(second.post("/account/delete/cancel", &[]).location(), "/account");
    assert!(second.get("/account").body.contains("Your account won&#39;t be deleted."));
    assert_eq!(database.db_count("SELECT count(*) FROM users WHERE deletion_due_at IS NULL"), 1);
    assert_eq!(
        second.post("/account/delete/cancel", &[]).status,
        303,
        "a second cancellation changes nothing"
    );
    assert_eq!(
        database.db_texts(mails),
        ["deletion_scheduled ada@example.com", "deletion_canceled ada@example.com"]
    );
    let events = database
        .db_texts("SELECT event FROM audit_events WHERE event LIKE 'deletion%' ORDER BY id");
    assert_eq!(events, ["deletion_requested", "deletion_canceled"]);
    assert_eq!(second.login("ada@example.com", PASSWORD).location(), "/account");
}

/// A mailed link that sets a password, and one that confirms the email, for an account that is scheduled for deletion.
fn db_links_of_scheduled_account(database: &Database) -> [String; 2] {
    let [reset, verify] = [Secret::generate(), Secret::generate()];
    for (secret, purpose) in [(&reset, "reset_password"), (&verify, "verify_email")] {
        database.db_execute(&format!(
            "INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, expires_at)
             SELECT decode('{}', 'hex'), '{purpose}', id, email, email_canonical, now() + interval '1 day' FROM users",
            hex::encode(secret.digest().as_bytes())
        ));
    }
    database.db_execute("UPDATE users SET deletion_due_at = now() + interval '3 days'");
    [format!("/reset-password/{}", reset.reveal()), format!("/verify-email/{}", verify.reveal())]
}

#[test]
fn recovery_says_that_a_deletion_is_scheduled_and_offers_to_keep_the_account() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    database.db_execute("DELETE FROM email_tokens");
    let due = "SELECT count(*) FROM users WHERE deletion_due_at IS NOT NULL";
    // Without the box, the notice after it repeats what will happen.
    let [reset, _] = db_links_of_scheduled_account(&database);
    let mut browser = server.browser();
    let page = browser.open(&reset).body;
    for words in ["This account is scheduled for deletion", "Keep my account", "keep_account"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let refused = browser.post(&reset, &[("new_password", "short"), ("keep_account", "on")]);
    assert!(refused.status == 422 && refused.body.contains(" checked"), "{}", refused.body);
    assert_eq!(browser.post(&reset, &[("new_password", OTHER_PASSWORD)]).location(), "/login");
    assert!(browser.get("/login").body.contains("Your account will still be deleted on"));
    assert_eq!(database.db_count(due), 1);

    let [reset, _] = db_links_of_scheduled_account(&database);
    let fields = [("new_password", PASSWORD), ("keep_account", "on")];
    assert_eq!(browser.post(&reset, &fields).location(), "/login");
    assert!(browser.get("/login").body.contains("Your account won&#39;t be deleted."));
    assert_eq!(database.db_count(due), 0);
    let mails = "SELECT count(*) FROM mail_outbox WHERE kind = 'deletion_canceled'";
    let events = "SELECT count(*) FROM audit_events WHERE event = 'deletion_canceled'";
    assert_eq!((database.db_count(mails), database.db_count(events)), (1, 1));
    // Where no deletion is scheduled, there is nothing to keep.
    let [reset, _] = db_links_of_scheduled_account(&database);
    database.db_execute("UPDATE users SET deletion_due_at = NULL");
    assert!(!browser.open(&reset).body.contains("keep_account"));
    assert_eq!(browser.post(&reset, &fields).location(), "/login");
    assert!(!browser.get("/login").body.contains("deleted"));
    assert_eq!(database.db_count(events), 1);
}

#[test]
fn every_sign_in_to_an_account_scheduled_for_deletion_leads_to_the_way_back() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    database.db_execute("DELETE FROM email_tokens");
    let [_, verify] = db_links_of_scheduled_account(&database);
    let mut browser = server.browser();
    let response = browser.post(&verify, &[("password", PASSWORD)]);
    assert_eq!((response.status, response.location()), (303, "/account/delete"));
    let page = browser.get("/account/delete").body;
    assert!(page.contains("Keep my account") && page.contains(" is confirmed."));
    for next in ["", "/account/profile"] {
        let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("next", next)];
        assert_eq!(server.browser().post("/login", &fields).location(), "/account/delete");
    }
    // The deletion is requested after the password was compared and before the session is inserted.
    database.db_execute("UPDATE users SET deletion_due_at = NULL");
    let held = database.db_begin("UPDATE users SET deletion_due_at = now() + interval '7 days'");
    let signing_in = std::thread::spawn({
        let mut browser = server.browser();
        move || browser.login("ada@example.com", PASSWORD)
    });
    until("the sign-in waits for the account", || {
        database.db_count(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        ) > 0
    });
    held.commit();
    assert_eq!(signing_in.join().unwrap().location(), "/account/delete");
}

#[test]
fn a_deleted_account_leaves_only_anonymous_audit_events() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s")]).until_live();
    let mut ada = registered(&server, "Ada.Lovelace@example.com");
    let mut bob = registered(&server, "bob@example.com");
    database.db_execute("UPDATE users SET email_verified_at = now()");
    server.browser().login("ada.lovelace@example.com", "not the password");
    let id = database.db_texts("SELECT id::text FROM users WHERE email LIKE 'Ada%'").remove(0);
    for sql in [
        "INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, expires_at)
         SELECT sha256('a'), 'undo_email_change', id, email, email_canonical, now() + interval '1 day' FROM users",
        "INSERT INTO mail_outbox (id, kind, user_id, recipient) SELECT gen_random_uuid(), 'new_device', id, email FROM users",
        "INSERT INTO mail_outbox (id, kind, recipient) VALUES (gen_random_uuid(), 'already_registered', 'ada.lovelace@EXAMPLE.com')",
        "INSERT INTO registrations (id, ticket_digest, email, email_canonical, display_name, password_hash, mailed_at, expires_at)
         VALUES (gen_random_uuid(), sha256('b'), 'Ada.Lovelace@example.com', 'ada.lovelace@example.com', 'X', '-', now(), now() + interval '1 day')",
        "INSERT INTO recovery_requests (id, email_canonical) VALUES (gen_random_uuid(), 'ada.lovelace@example.com')",
    ] {
        // Both accounts match, but the digests are unique: insert for Ada only.
        database.db_execute(&sql.replace("FROM users", "FROM users WHERE email LIKE 'Ada%'"));
    }
    let sessions =
        database.db_texts(&format!("SELECT id::text FROM sessions WHERE user_id = '{id}'"));
    assert!(rows_containing(&database, "ada.lovelace@").len() >= 5);
    let before = rows_containing(&database, &id).len();
    ada.post("/account/delete", &[]);
    // The user signs in again and does not cancel.
    ada.login("ada.lovelace@example.com", PASSWORD);
    assert!(ada.is_signed_in());
    database
        .db_execute("UPDATE users SET deletion_due_at = now() WHERE deletion_due_at IS NOT NULL");
    until("the account is deleted", || database.db_count("SELECT count(*) FROM users") == 1);
    until("the user is signed out", || !ada.is_signed_in());

    let remaining = rows_containing(&database, "ada.lovelace@");
    assert_eq!(remaining.len(), 1, "{remaining:?}");
    assert!(
        remaining[0].starts_with("mail_outbox ") && remaining[0].contains("account_deleted"),
        "{remaining:?}"
    );
    let events = rows_containing(&database, &id);
    assert!(events.len() >= before - 2, "audit events are kept");
    assert!(events.iter().all(|row| row.starts_with("audit_events ")), "{events:?}");
    let identified = database.db_count(&format!(
        "SELECT count(*) FROM audit_events WHERE user_id = '{id}'
            AND num_nonnulls(ip_address, user_agent, session_id, request_id) > 0"
    ));
    assert_eq!(identified, 0, "events keep only kind and time");
    for session in sessions {
        assert!(rows_containing(&database, &session).is_empty(), "{session}");
    }
    assert_eq!(
        database.db_texts(&format!(
            "SELECT event || ' ' || actor FROM audit_events WHERE user_id = '{id}' ORDER BY id DESC LIMIT 1"
        )),
        ["account_deleted system"]
    );
    assert!(!server.log().to_lowercase().contains("lovelace"), "no email in the log");
    assert!(bob.is_signed_in(), "other accounts are unchanged");
    assert_eq!(
        database.db_count("SELECT count(*) FROM audit_events WHERE ip_address IS NOT NULL"),
        2
    );
    assert_eq!(ada.login("ada.lovelace@example.com", PASSWORD).status, 422);
    registered(&server, "ada.lovelace@example.com");
}

#[test]
fn an_account_is_deleted_when_due_and_never_after_cancellation() {
    let database = Database::new();
    {
        let server = Server::start(&database, &[]);
        for name in ["due", "soon", "kept", "other"] {
            registered(&server, &format!("{name}@example.com"));
        }
    }
    let due = |name: &str, when: &str| {
        database.db_execute(&format!(
            "UPDATE users SET deletion_due_at = now() + interval '{when}' WHERE email LIKE '{name}%'"
        ));
    };
    let is_deleted = |name: &str| {
        database.db_count(&format!("SELECT count(*) FROM users WHERE email LIKE '{name}%'")) == 0
    };
    due("soon", "1 hour");
    due("kept", "-2 days");
    due("due", "-1 day");
    // A cancellation holds the row while the deletion is due: the job skips the locked row, and after the
    // commit the deletion is no longer due.
    let _on = database.runtime.enter();
    let mut connection = database.runtime.block_on(database.pool.acquire()).unwrap();
    let mut cancel = |sql: &'static str| {
        database.runtime.block_on(sqlx::query(sql).execute(&mut *connection)).unwrap();
    };
    cancel("BEGIN");
    cancel("UPDATE users SET deletion_due_at = NULL WHERE email LIKE 'kept%'");
    let _server = Server::start(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s")]);
    until("the due account is deleted", || is_deleted("due"));
    cancel("COMMIT");
    due("other", "0 s");
    until("the next round of the job", || is_deleted("other"));
    assert!(!is_deleted("soon") && !is_deleted("kept"));
}

#[test]
fn user_delete_requires_yes_and_deletes_immediately() {
    let (server, database) = site();
    let server = server.until_live();
    let mut ada = registered(&server, "ada@example.com");
    database.db_execute("UPDATE users SET email_verified_at = now()");
    assert!(ada.is_signed_in());
    let unconfirmed = run(&database, &["user", "delete", "ada@example.com"], "");
    assert!(unconfirmed.code == 2 && unconfirmed.error.contains("--yes"), "{}", unconfirmed.error);
    assert!(ada.is_signed_in());
    let id = database.db_texts("SELECT id::text FROM users").remove(0);
    assert_eq!(run(&database, &["user", "delete", &id, "--yes"], "").code, 0);
    assert!(!ada.is_signed_in(), "signed out immediately");
    assert_eq!(run(&database, &["user", "delete", &id, "--yes"], "").code, 3);
    let output = run(&database, &["audit", "--user", &id, "--json"], "");
    assert!(output.out.lines().next().unwrap().contains("\"account_deleted\""), "{}", output.out);
    assert_eq!(
        rows_containing(&database, "ada@example.com").len(),
        1,
        "only the deletion mail remains"
    );
}

/// Kills the server at a statement: a trigger waits for a lock that the test holds.
fn kill_at(
    database: &Database,
    server: &mut Server,
    table: &str,
    moment: &str,
    act: impl FnOnce(),
) {
    let (kind, when, tail) = match moment.strip_prefix("CONSTRAINT ") {
        Some(when) => ("CONSTRAINT TRIGGER", when, "DEFERRABLE INITIALLY DEFERRED"),
        None => ("TRIGGER", moment, ""),
    };
    database.db_execute(
        "CREATE OR REPLACE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN CASE TG_OP WHEN ''DELETE'' THEN OLD ELSE NEW END; END'",
    );
    database.db_execute(&format!(
        "CREATE {kind} stop {when} ON {table} {tail} FOR EACH ROW EXECUTE FUNCTION wait_here()"
    ));
    let _on = database.runtime.enter();
    let mut holder = database.runtime.block_on(database.pool.acquire()).unwrap();
    let mut hold = |sql: &'static str| {
        database.runtime.block_on(sqlx::query(sql).execute(&mut *holder)).unwrap();
    };
    hold("SELECT pg_advisory_lock(42)");
    act();
    until("a statement waits for the lock", || {
        database.db_count(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'",
        ) > 0
    });
    server.signal("KILL");
    server.ended();
    hold("SELECT pg_advisory_unlock(42)");
    until("PostgreSQL has ended the connections of the server", || {
        database.db_count(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'frontdesk'",
        ) == 0
    });
    database.db_execute(&format!("DROP TRIGGER stop ON {table}"));
}

#[test]
fn a_deletion_request_is_atomic_when_the_server_is_killed_at_any_statement() {
    let stops = [
        ("users", "BEFORE UPDATE"),
        ("users", "AFTER UPDATE"),
        ("sessions", "BEFORE DELETE"),
        ("sessions", "AFTER DELETE"),
        ("email_tokens", "AFTER DELETE"),
        ("mail_outbox", "AFTER INSERT"),
        ("audit_events", "BEFORE INSERT"),
        ("audit_events", "AFTER INSERT"),
        ("users", "CONSTRAINT AFTER UPDATE"),
    ];
    let (mut nothing, mut all) = (0, 0);
    for (table, moment) in stops {
        let database = Database::new();
        let mut server = Server::start(&database, &[]);
        let first = registered(&server, "ada@example.com");
        database.db_execute("UPDATE users SET email_verified_at = now()");
        server.browser().login("ada@example.com", PASSWORD);
        database.db_execute(
            "INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, expires_at)
             SELECT sha256('a'), 'reset_password', id, email, email_canonical, now() + interval '1 day' FROM users",
        );
        let requesting = first.clone();
        kill_at(&database, &mut server, table, moment, || {
            let mut requesting = requesting;
            std::thread::spawn(move || {
                let kind = [("Content-Type", "application/x-www-form-urlencoded")];
                requesting.try_send("POST", "/account/delete", &kind, "").ok()
            });
        });
        let found = database.db_texts(
            "SELECT concat_ws(' ', (SELECT count(*) FROM users WHERE deletion_due_at IS NOT NULL),
                    (SELECT count(*) FROM sessions), (SELECT count(*) FROM email_tokens),
                    (SELECT count(*) FROM mail_outbox WHERE kind = 'deletion_scheduled'),
                    (SELECT count(*) FROM audit_events WHERE event IN ('deletion_requested', 'session_ended')))",
        );
        match found[0].as_str() {
            "0 2 2 0 0" => nothing += 1,
            "1 0 0 1 3" => all += 1,
            partial => panic!("{table} {moment}: {partial}"),
        }
    }
    println!(
        "killed at {} statements: {nothing} times nothing was committed, {all} times everything",
        stops.len()
    );
    assert!(nothing >= 8 && all <= 1);
}

#[test]
fn a_deletion_is_atomic_when_the_server_is_killed_at_any_statement() {
    let stops = [
        ("sessions", "BEFORE DELETE"),
        ("sessions", "AFTER DELETE"),
        ("email_tokens", "AFTER DELETE"),
        ("mail_outbox", "BEFORE DELETE"),
        ("mail_outbox", "AFTER DELETE"),
        ("registrations", "AFTER DELETE"),
        ("users", "BEFORE DELETE"),
        ("users", "AFTER DELETE"),
        ("audit_events", "BEFORE UPDATE"),
        ("audit_events", "AFTER UPDATE"),
        ("mail_outbox", "BEFORE INSERT"),
        ("mail_outbox", "AFTER INSERT"),
        ("users", "CONSTRAINT AFTER DELETE"),
    ];
    let (mut nothing, mut all) = (0, 0);
    for (table, moment) in stops {
        let database = Database::new();
        {
            let server = Server::start(&database, &[]);
            registered(&server, "ada@example.com");
            database.db_execute("UPDATE users SET email_verified_at = now()");
        }
        for sql in [
            "INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, expires_at)
             SELECT sha256('a'), 'verify_email', id, email, email_canonical, now() + interval '1 day' FROM users",
            "INSERT INTO mail_outbox (id, kind, user_id, recipient, state, finished_at) SELECT gen_random_uuid(), 'new_device', id, email, 'sent', now() FROM users",
            "INSERT INTO registrations (id, ticket_digest, email, email_canonical, display_name, password_hash, mailed_at, expires_at)
             VALUES (gen_random_uuid(), sha256('b'), 'ada@example.com', 'ada@example.com', 'X', '-', now(), now() + interval '1 day')",
        ] {
            database.db_execute(sql);
        }
        let count = || {
            database.db_texts(
                "SELECT concat_ws(' ', (SELECT count(*) FROM users), (SELECT count(*) FROM sessions),
                        (SELECT count(*) FROM email_tokens), (SELECT count(*) FROM registrations),
                        (SELECT count(*) FROM mail_outbox WHERE kind = 'new_device'),
                        (SELECT count(*) FROM mail_outbox WHERE kind = 'account_deleted'),
                        (SELECT count(*) FROM audit_events WHERE event = 'account_deleted'),
                        (SELECT count(*) > 0 FROM audit_events WHERE ip_address IS NOT NULL))",
            )[0]
            .clone()
        };
        let mut server = Server::start(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s")]);
        kill_at(&database, &mut server, table, moment, || {
            database.db_execute("UPDATE users SET deletion_due_at = now() - interval '1 second'");
        });
        match count().as_str() {
            "1 1 2 1 1 0 0 t" => nothing += 1,
            "0 0 0 0 0 1 1 f" => all += 1,
            partial => panic!("{table} {moment}: {partial}"),
        }
    }
    println!(
        "killed at {} statements: {nothing} times nothing was committed, {all} times everything",
        stops.len()
    );
    assert!(nothing >= 12 && all <= 1);
}

#[test]
fn mail_to_another_spelling_of_the_email_is_deleted_with_the_account() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_REGISTRATION", "verified")]);
    let create = ["user", "create", "Ada@exämple.com", "--name", "Ada"];
    assert_eq!(run(&database, &create, PASSWORD).code, 0);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    // Mail to a new person about an email that has an account, by this version and by the one before.
    let fields =
        [("email", "ADA@XN--EXMPLE-CUA.COM"), ("display_name", "Ada"), ("password", PASSWORD)];
    assert_eq!(server.browser().post("/register", &fields).status, 303);
    let mails = "SELECT count(*) FROM mail_outbox WHERE recipient_canonical = (SELECT email_canonical FROM users)";
    until("the mail is written", || database.db_count(mails) == 1);
    database
        .db_execute("UPDATE mail_outbox SET user_id = NULL, recipient = 'ADA@XN--EXMPLE-CUA.COM'");
    database.db_execute(
        "INSERT INTO mail_outbox (id, kind, recipient) VALUES (gen_random_uuid(), 'already_registered', 'ADA@XN--EXMPLE-CUA.com')",
    );
    let delete = ["user", "delete", "ada@exämple.com", "--yes"];
    assert_eq!(run(&database, &delete, "").code, 0);
    assert_eq!(database.db_texts("SELECT kind FROM mail_outbox"), ["account_deleted"]);
}
