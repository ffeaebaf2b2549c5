//! The end of an account: asked for, taken back, and for good.

use std::time::{Duration, Instant};

use crate::command_line::run;
use crate::support::{Database, PASSWORD, Server, registered, site};

fn until(what: &str, mut wished: impl FnMut() -> bool) {
    let began = Instant::now();
    while !wished() {
        assert!(began.elapsed() < Duration::from_secs(20), "it never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything there is in the database, a row a line: table, then the row as text.
fn everything(database: &Database) -> Vec<String> {
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

/// What of it names `text`, and in which table.
fn naming(database: &Database, text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    everything(database).into_iter().filter(|row| row.to_lowercase().contains(&text)).collect()
}

#[test]
fn a_deletion_request_signs_out_everywhere_and_signing_in_leads_to_cancellation() {
    let database = Database::new();
    let servers =
        [Server::start(&database, &[]).until_live(), Server::start(&database, &[]).until_live()];
    let mut here = registered(&servers[0], "ada@example.com");
    let mut there = servers[1].browser();
    there.login("ada@example.com", PASSWORD);
    let page = here.get("/account/delete");
    for words in ["ada@example.com", "ADA", "at all 2 places", "In 7 days", "Delete my account"] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    assert_eq!(
        database.db_count("SELECT count(*) FROM users WHERE deletion_due_at IS NOT NULL"),
        0
    );

    let done = here.post("/account/delete", &[]);
    assert_eq!((done.status, done.location()), (303, "/"));
    assert_eq!(done.header("clear-site-data"), Some("\"cache\""));
    assert!(here.session().is_none(), "the cookie is gone");
    assert!(here.get("/").body.contains("To keep it, sign in before then."));
    for server in &servers {
        assert!(!here.on_server(&server.addr).is_signed_in());
        assert!(!there.on_server(&server.addr).is_signed_in());
    }
    let days =
        "SELECT round(EXTRACT(EPOCH FROM deletion_due_at - now()) / 86400)::bigint FROM users";
    assert_eq!(database.db_count(days), 7);
    let mails =
        "SELECT kind || ' ' || recipient FROM mail_outbox WHERE kind LIKE 'deletion%' ORDER BY id";
    assert_eq!(database.db_texts(mails), ["deletion_scheduled ada@example.com"]);

    let back = there.post(
        "/login",
        &[("email", "ada@example.com"), ("password", PASSWORD), ("next", "/account/profile")],
    );
    assert_eq!((back.status, back.location()), (303, "/account/delete"));
    let page = there.get("/account/delete");
    assert!(page.body.contains("Keep my account") && !page.body.contains("Delete my account"));
    // Asked twice, the first date stands and nothing is mailed again.
    database.db_execute("UPDATE users SET deletion_due_at = now() + interval '2 days'");
    assert_eq!(here.login("ada@example.com", PASSWORD).status, 303);
    assert_eq!(there.post("/account/delete", &[]).status, 303);
    assert_eq!(database.db_count(days), 2);
    assert!(there.get("/").body.contains("You are signed out everywhere."));
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0, "and so it is");
    for server in &servers {
        assert!(!here.on_server(&server.addr).is_signed_in());
        assert!(!there.on_server(&server.addr).is_signed_in());
    }

    there.login("ada@example.com", PASSWORD);
    assert_eq!(there.post("/account/delete/cancel", &[]).location(), "/account");
    assert!(there.get("/account").body.contains("Your account stays."));
    assert_eq!(database.db_count("SELECT count(*) FROM users WHERE deletion_due_at IS NULL"), 1);
    assert_eq!(there.post("/account/delete/cancel", &[]).status, 303, "once more does no harm");
    assert_eq!(
        database.db_texts(mails),
        ["deletion_scheduled ada@example.com", "deletion_canceled ada@example.com"]
    );
    let events = database
        .db_texts("SELECT event FROM audit_events WHERE event LIKE 'deletion%' ORDER BY id");
    assert_eq!(events, ["deletion_requested", "deletion_canceled"]);
    assert_eq!(there.login("ada@example.com", PASSWORD).location(), "/account");
}

#[test]
fn a_deleted_account_leaves_only_anonymous_audit_events() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s")]).until_live();
    let mut ada = registered(&server, "Ada.Lovelace@example.com");
    let mut bob = registered(&server, "bob@example.com");
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
        // Two accounts have a link; a digest is there once.
        database.db_execute(&sql.replace("FROM users", "FROM users WHERE email LIKE 'Ada%'"));
    }
    let sessions =
        database.db_texts(&format!("SELECT id::text FROM sessions WHERE user_id = '{id}'"));
    assert!(naming(&database, "ada.lovelace@").len() >= 5);
    let before = naming(&database, &id).len();
    ada.post("/account/delete", &[]);
    // Somebody signed in again, and let the days go by.
    ada.login("ada.lovelace@example.com", PASSWORD);
    assert!(ada.is_signed_in());
    database
        .db_execute("UPDATE users SET deletion_due_at = now() WHERE deletion_due_at IS NOT NULL");
    until("the account is gone", || database.db_count("SELECT count(*) FROM users") == 1);
    until("and signed out", || !ada.is_signed_in());

    let left = naming(&database, "ada.lovelace@");
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].starts_with("mail_outbox ") && left[0].contains("account_deleted"), "{left:?}");
    let events = naming(&database, &id);
    assert!(events.len() >= before - 2, "the trail is kept");
    assert!(events.iter().all(|row| row.starts_with("audit_events ")), "{events:?}");
    let named = database.db_count(&format!(
        "SELECT count(*) FROM audit_events WHERE user_id = '{id}'
            AND num_nonnulls(ip_address, user_agent, session_id, request_id) > 0"
    ));
    assert_eq!(named, 0, "events keep kind and time alone");
    for session in sessions {
        assert!(naming(&database, &session).is_empty(), "{session}");
    }
    assert_eq!(
        database.db_texts(&format!(
            "SELECT event || ' ' || actor FROM audit_events WHERE user_id = '{id}' ORDER BY id DESC LIMIT 1"
        )),
        ["account_deleted system"]
    );
    assert!(!server.log().to_lowercase().contains("lovelace"), "no address in the log");
    assert!(bob.is_signed_in(), "nobody else is touched");
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
    let is_gone = |name: &str| {
        database.db_count(&format!("SELECT count(*) FROM users WHERE email LIKE '{name}%'")) == 0
    };
    due("soon", "1 hour");
    due("kept", "-2 days");
    due("due", "-1 day");
    // Somebody keeps it at the very moment at which it is due: it is passed over, and then it is not due.
    let _on = database.runtime.enter();
    let mut keeper = database.runtime.block_on(database.pool.acquire()).unwrap();
    let mut keep = |sql: &'static str| {
        database.runtime.block_on(sqlx::query(sql).execute(&mut *keeper)).unwrap();
    };
    keep("BEGIN");
    keep("UPDATE users SET deletion_due_at = NULL WHERE email LIKE 'kept%'");
    let _server = Server::start(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s")]);
    until("one is gone", || is_gone("due"));
    keep("COMMIT");
    due("other", "0 s");
    until("a round later", || is_gone("other"));
    assert!(!is_gone("soon") && !is_gone("kept"));
}

#[test]
fn user_delete_requires_yes_and_deletes_immediately() {
    let (server, database) = site();
    let server = server.until_live();
    let mut ada = registered(&server, "ada@example.com");
    assert!(ada.is_signed_in());
    let unsure = run(&database, &["user", "delete", "ada@example.com"], "");
    assert!(unsure.code == 2 && unsure.error.contains("--yes"), "{}", unsure.error);
    assert!(ada.is_signed_in());
    let id = database.db_texts("SELECT id::text FROM users").remove(0);
    assert_eq!(run(&database, &["user", "delete", &id, "--yes"], "").code, 0);
    assert!(!ada.is_signed_in(), "at once");
    assert_eq!(run(&database, &["user", "delete", &id, "--yes"], "").code, 3);
    let said = run(&database, &["audit", "--user", &id, "--json"], "");
    assert!(said.out.lines().next().unwrap().contains("\"account_deleted\""), "{}", said.out);
    assert_eq!(naming(&database, "ada@example.com").len(), 1, "the last mail");
}

/// Where the server is stopped: a trigger waits for a lock that the test holds.
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
    until("it waits", || {
        database.db_count(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'",
        ) > 0
    });
    server.signal("KILL");
    server.ended();
    hold("SELECT pg_advisory_unlock(42)");
    until("nothing is left of it", || {
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
        let here = registered(&server, "ada@example.com");
        server.browser().login("ada@example.com", PASSWORD);
        database.db_execute(
            "INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, expires_at)
             SELECT sha256('a'), 'reset_password', id, email, email_canonical, now() + interval '1 day' FROM users",
        );
        let asking = here.clone();
        kill_at(&database, &mut server, table, moment, || {
            let mut asking = asking;
            std::thread::spawn(move || {
                let kind = [("Content-Type", "application/x-www-form-urlencoded")];
                asking.try_send("POST", "/account/delete", &kind, "").ok()
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
            half => panic!("{table} {moment}: {half}"),
        }
    }
    println!(
        "killed at {} moments: {nothing} times nothing had happened, {all} times all",
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
            half => panic!("{table} {moment}: {half}"),
        }
    }
    println!(
        "killed at {} moments: {nothing} times nothing had happened, {all} times all",
        stops.len()
    );
    assert!(nothing >= 12 && all <= 1);
}
