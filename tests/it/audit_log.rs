//! The audit log as users and operators read it, and its retention and that of other rows.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::command_line::run;
use crate::support::lines::lines;
use crate::support::server::KEY;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

#[test]
fn users_see_their_own_audit_events_in_plain_words_newest_first() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut bob = registered(&server, "bob@example.com");
    server.browser().login("ada@example.com", "not the password");
    let mut phone = server.browser();
    phone.user_agent = "curl/8.14.1".to_owned();
    phone.login("ada@example.com", PASSWORD);
    run(&database, &["user", "disable", "bob@example.com"], "");
    run(&database, &["user", "enable", "bob@example.com"], "");
    ada.post(
        "/account/password",
        &[("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)],
    );
    let page = ada.get("/account/activity");
    assert_eq!(page.status, 200);
    let words = [
        "Password changed",
        "Session ended: password changed",
        "Signed in",
        "<span class=\"visually-hidden\">Please check: </span>Sign-in refused: wrong password",
        "Signed in",
        "Account created",
    ];
    let mut at = 0;
    for words in words {
        let found = page.body[at..].find(&format!("<p class=\"what\"><span>{words}"));
        at += found
            .unwrap_or_else(|| panic!("{words} is missing at this position:\n{}", page.body))
            + 1;
    }
    assert!(page.body.contains("curl") && page.body.contains("Firefox on Linux"));
    assert!(page.body.contains("127.0.0.1") && page.body.contains("This session"));
    assert!(!page.body.contains("disabled"), "an event of another user");
    assert!(!bob.is_signed_in());
    bob.login("bob@example.com", PASSWORD);
    let page = bob.get("/account/activity");
    assert!(page.body.contains("Account re-enabled"));
    assert!(page.body.contains("by an administrator"));
    assert!(!page.body.contains("wrong password"));
}

#[test]
fn an_expired_session_is_logged_with_the_time_of_its_expiry() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    drop(server);
    database.db_execute(
        "UPDATE sessions SET created_at = now() - interval '5 hours', last_seen_at = now() - interval '5 hours',
                             expires_at = now() - interval '3 hours'",
    );
    run(&database, &["session", "purge"], "");
    let ended = database.db_texts(
        "SELECT concat_ws(' ', actor, details->>'cause', round(extract(epoch FROM now() - occurred_at) / 3600))
           FROM audit_events WHERE event = 'session_ended'",
    );
    assert_eq!(ended, ["system expired 3"]);
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
}

#[test]
fn an_expired_session_is_no_device_that_a_new_password_signs_out() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    server.browser().login("ada@example.com", PASSWORD);
    database.db_create_sessions("ada@example.com", 3);
    let age = |count: u32| {
        database.db_execute(&format!(
            "UPDATE sessions SET created_at = now() - interval '5 hours', last_seen_at = now() - interval '5 hours',
                                 expires_at = now() - interval '3 hours'
              WHERE token_digest IN (SELECT token_digest FROM sessions WHERE user_agent IS NULL LIMIT {count})"
        ));
    };
    let ended = || {
        database.db_texts(
            "SELECT concat_ws(' ', actor, details->>'cause', host(ip_address), details->>'count',
                              round(extract(epoch FROM now() - occurred_at) / 3600))
               FROM audit_events WHERE event = 'session_ended' ORDER BY 1",
        )
    };
    age(2);
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(ada.post("/account/password", &fields).status, 303);
    assert!(ada.get("/account/password").body.contains("on 2 other devices"));
    assert_eq!(
        ended(),
        [
            "system expired 3",
            "system expired 3",
            "user password_changed 127.0.0.1 0",
            "user password_changed 127.0.0.1 0"
        ]
    );
    let changed =
        "SELECT details->>'ended_sessions' FROM audit_events WHERE event = 'password_changed'";
    assert_eq!(database.db_texts(changed), ["2"]);

    // The same for an operator and for psql.
    database.db_create_sessions("ada@example.com", 4);
    age(2);
    database.db_execute("DELETE FROM audit_events");
    let output = run(&database, &["session", "revoke", "--user", "ada@example.com"], "");
    assert!(output.out.contains('3'), "{}", output.out);
    assert_eq!(
        ended(),
        [
            "operator revoked 0",
            "operator revoked 0",
            "operator revoked 0",
            "system expired 3",
            "system expired 3"
        ]
    );
    database.db_create_sessions("ada@example.com", 5);
    age(3);
    database.db_execute("DELETE FROM audit_events");
    database.db_execute("DELETE FROM sessions");
    assert_eq!(ended(), ["database expired 3 0", "database revoked 2 0"]);
    database.db_create_sessions("ada@example.com", 5);
    age(4);
    let output = run(&database, &["session", "revoke", "--all", "--yes"], "");
    assert!(output.out.contains('1') && !output.out.contains('5'), "{}", output.out);
}

#[test]
fn the_activity_page_pages_through_older_events_to_the_end() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut bob = registered(&server, "bob@example.com");
    // Pairs of events with the same time, so that a page ends between the two of a pair.
    database.db_execute(
        "INSERT INTO audit_events (event, user_id, occurred_at, details)
         SELECT 'signed_in', id, now() - (n / 2) * interval '1 minute' - interval '1 hour', '{}'
           FROM users, generate_series(1, 70) AS n WHERE email LIKE 'ada%'",
    );
    let mut path = "/account/activity".to_owned();
    let (mut pages, mut lines) = (0, 0);
    loop {
        let page = ada.get(&path);
        assert_eq!(page.status, 200);
        pages += 1;
        lines += page.body.matches("<li class=\"event").count();
        let older = page.body.split("href=\"/account/activity?before=").nth(1);
        match older.and_then(|rest| rest.split('"').next()) {
            Some(before) => path = format!("/account/activity?before={before}"),
            None => break,
        }
        assert!(pages < 10, "the pages do not end");
    }
    assert_eq!((pages, lines), (3, 72), "each event once");
    assert!(bob.get(&path).body.contains("No older activity."), "no events of another user");
    for invalid in ["0", "-1", "x", "9223372036854775808", "1;DROP", "%00", ""] {
        assert_eq!(
            ada.get(&format!("/account/activity?before={invalid}")).status,
            200,
            "{invalid}"
        );
    }
    database.db_execute("DELETE FROM audit_events");
    assert!(ada.get("/account/activity").body.contains("No recent activity."));
}

#[test]
fn an_operator_can_filter_the_audit_log_and_read_it_as_json_lines() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    registered(&server, "bob@example.com");
    server.browser().login("ada@example.com", "not the password");
    server.browser().login("nobody@example.com", "not the password");
    database.db_execute(
        "UPDATE audit_events SET occurred_at = now() - interval '3 hours' WHERE event = 'registered'",
    );
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let output = run(&database, &[&["audit", "--json"], arguments].concat(), "");
        assert!(output.code == 0 || output.out.is_empty(), "{}", output.error);
        output.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(lines(&[]).len(), 6);
    assert_eq!(lines(&["--user", "ADA@example.com"]).len(), 3);
    assert_eq!(lines(&["--event", "sign_in_refused"]).len(), 2);
    assert_eq!(lines(&["--since", "2h"]).len(), 4);
    assert_eq!(lines(&["--limit", "1"])[0]["event"], "sign_in_refused", "newest first");
    let one = lines(&["--user", "ada@example.com", "--event", "sign_in_refused"]).remove(0);
    assert_eq!(one["details"]["why"], "wrong_password");
    assert_eq!(
        (one["email"].as_str(), one["actor"].as_str()),
        (Some("ada@example.com"), Some("user"))
    );
    assert_eq!(one["ip_address"], "127.0.0.1");
    let text = run(&database, &["audit", "--user", "ada@example.com"], "");
    assert!(text.out.lines().count() == 3 && text.out.contains("Firefox on Linux"), "{}", text.out);
    assert_eq!(run(&database, &["audit", "--event", "account_deleted"], "").code, 3);
    let wrong = run(&database, &["audit", "--event", "sign_in_refusd"], "");
    assert!(wrong.code == 2 && wrong.error.contains("'sign_in_refused'"), "{}", wrong.error);
    assert_eq!(run(&database, &["audit", "--user", "who@example.com"], "").code, 3);
    let wrong = run(&database, &["audit", "--since", "yesterday"], "");
    assert!(wrong.code == 2 && wrong.error.contains("30m, 2h or 7d"), "{}", wrong.error);
}

#[test]
fn following_the_audit_log_shows_each_event_once_even_if_committed_late() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let mut child = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(["audit", "--follow", "--json"])
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .envs([("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = lines(child.stdout.take().unwrap());
    let next = || {
        let line = lines.recv_timeout(Duration::from_secs(30)).expect("another event");
        let line: Value = serde_json::from_str(&line).unwrap();
        line["event"].as_str().unwrap().to_owned()
    };
    assert_eq!([next(), next()], ["registered", "signed_in"], "existing events, oldest first");
    let _on = database.runtime.enter();
    let mut late = database.runtime.block_on(database.pool.acquire()).unwrap();
    let mut execute = |sql: &'static str| {
        database.runtime.block_on(sqlx::query(sql).execute(&mut *late)).unwrap();
    };
    execute("BEGIN");
    execute("INSERT INTO audit_events (event) VALUES ('late_one')");
    server.browser().login("ada@example.com", "not the password");
    assert_eq!(next(), "sign_in_refused");
    execute("COMMIT");
    assert_eq!(next(), "late_one", "although its id is lower than one shown before");
    server.browser().login("ada@example.com", PASSWORD);
    assert_eq!(next(), "signed_in");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Inserts expired and unexpired rows into each table.
fn fill(database: &Database) {
    for sql in [
        "INSERT INTO audit_events (event, occurred_at) SELECT 'old_one', now() - interval '31 days' FROM generate_series(1, 2500)",
        "INSERT INTO audit_events (event, occurred_at) VALUES ('young_one', now() - interval '29 days')",
        "INSERT INTO throttles SELECT 'sign_in_account', sha256(n::text::bytea), 1, now(), now(), now() + (n - 5) * interval '1 hour' FROM generate_series(1, 10) n",
        "INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, expires_at)
         SELECT sha256(n::text::bytea), 'verify_email', id, email, email_canonical, now() + (n - 5) * interval '1 hour' FROM users, generate_series(1, 10) n",
        "INSERT INTO registrations (id, ticket_digest, email, email_canonical, display_name, password_hash, mailed_at, expires_at)
         SELECT gen_random_uuid(), sha256(n::text::bytea), 'x@example.com', 'x@example.com', 'X', '-', now(), now() + (n - 5) * interval '1 hour' FROM generate_series(1, 10) n",
        "INSERT INTO invitations (id, token_digest, email, email_canonical, expires_at)
         SELECT gen_random_uuid(), sha256(n::text::bytea), n || '@example.com', n || '@example.com', now() + (n - 5) * interval '1 hour' FROM generate_series(1, 10) n",
        "INSERT INTO mail_outbox (id, kind, recipient, state, finished_at)
         SELECT gen_random_uuid(), 'new_device', 'x@example.com', state, now() - days * interval '1 day'
           FROM (VALUES ('sent', 31), ('failed', 31), ('sent', 29), ('kept', 8), ('kept', 6)) AS v (state, days)",
        "INSERT INTO recovery_requests (id, email_canonical, created_at) VALUES (gen_random_uuid(), 'x@example.com', now() - interval '25 hours')",
    ] {
        database.db_execute(sql);
    }
}

#[test]
fn expired_rows_of_every_table_are_purged_automatically_and_no_others() {
    let database = Database::new();
    {
        let server = Server::start(&database, &[]);
        registered(&server, "ada@example.com");
    }
    fill(&database);
    let _server = Server::start(
        &database,
        &[("FRONTDESK_PURGE_INTERVAL", "1s"), ("FRONTDESK_AUDIT_RETENTION", "30d")],
    );
    let counts = || {
        database.db_texts(
            "SELECT concat_ws(' ', (SELECT count(*) FROM audit_events WHERE event = 'old_one'),
                    (SELECT count(*) FROM audit_events WHERE event <> 'old_one'),
                    (SELECT count(*) FROM throttles WHERE action = 'sign_in_account' AND tries = 1 AND octet_length(subject) = 32), (SELECT count(*) FROM email_tokens),
                    (SELECT count(*) FROM registrations), (SELECT count(*) FROM mail_outbox),
                    (SELECT count(*) FROM recovery_requests), (SELECT count(*) FROM invitations))",
        )[0]
        .clone()
    };
    let began = std::time::Instant::now();
    while counts() != "0 3 5 6 5 3 0 5" {
        assert!(began.elapsed().as_secs() < 20, "{}", counts());
    }
}

#[test]
fn the_audit_log_keeps_at_least_a_week_and_one_server_purges_it_at_a_time() {
    let database = Database::new();
    for sql in [
        "INSERT INTO audit_events (event, occurred_at) VALUES ('six_days', now() - interval '6 days')",
        "INSERT INTO audit_events (event, occurred_at) VALUES ('eight_days', now() - interval '8 days')",
    ] {
        database.db_execute(sql);
    }
    let _on = database.runtime.enter();
    let mut other = database.runtime.block_on(database.pool.acquire()).unwrap();
    let mut execute = |sql: &'static str| {
        database.runtime.block_on(sqlx::query(sql).execute(&mut *other)).unwrap();
    };
    execute("SELECT pg_advisory_lock(('x66726f6e7464686b'::bit(64))::bigint)");
    let settings = [("FRONTDESK_PURGE_INTERVAL", "1s"), ("FRONTDESK_AUDIT_RETENTION", "7d")];
    let server = Server::start(&database, &settings);
    // A round of the purge is over when the account due for deletion is deleted; the audit log was locked by
    // another purger.
    registered(&server, "ada@example.com");
    database.db_execute("UPDATE users SET deletion_due_at = now()");
    let began = std::time::Instant::now();
    while database.db_count("SELECT count(*) FROM users") > 0 {
        assert!(began.elapsed().as_secs() < 20, "{}", server.log());
    }
    let count = "SELECT count(*) FROM audit_events WHERE event LIKE '%days'";
    assert_eq!(database.db_count(count), 2, "another purger holds the lock");
    execute("SELECT pg_advisory_unlock_all()");
    let began = std::time::Instant::now();
    while database.db_count(count) > 1 {
        assert!(began.elapsed().as_secs() < 20, "{}", server.log());
    }
    assert_eq!(
        database.db_texts("SELECT event FROM audit_events WHERE event LIKE '%days'"),
        ["six_days"]
    );
}
