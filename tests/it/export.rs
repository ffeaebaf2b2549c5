//! Exports of accounts with a long history: complete, in bounded memory, and without delaying others.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::breakpoint::until;
use crate::support::{Browser, Database, Server, registered, site};

const ADA: &str = "ada@example.com";

/// Inserts audit events of `email`, some of them at the same time.
fn db_create_events(database: &Database, email: &str, count: usize) {
    database.db_execute(&format!(
        "INSERT INTO audit_events (occurred_at, event, user_id, actor, ip_address, user_agent, details)
         SELECT now() - interval '1 day' + number / 7 * interval '1 millisecond', 'signed_in', id, 'user',
                '203.0.113.7', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
                jsonb_build_object('number', number)
           FROM users, generate_series(1, {count}) AS number
          WHERE email = '{email}'"
    ));
}

/// The largest amount of memory that the server has used, in KiB.
fn peak(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Sends the form of the export and reads nothing.
fn start_export(server: &Server, browser: &Browser) -> TcpStream {
    let mut stream = TcpStream::connect(&server.addr).unwrap();
    let cookie = browser.session().unwrap();
    let head = format!(
        "POST /account/export HTTP/1.1\r\nHost: {}\r\nCookie: session={cookie}\r\nContent-Length: 0\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n\r\n",
        server.addr
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn an_export_of_a_hundred_thousand_events_is_complete_and_uses_little_memory() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    let before = peak(&server);
    db_create_events(&database, ADA, 100_000);
    let file = ada.post("/account/export", &[]);
    assert_eq!(file.status, 200);
    assert_eq!(
        file.header("content-disposition"),
        Some("attachment; filename=\"your-account.json\"")
    );
    let data: Value = serde_json::from_str(&file.body).unwrap();
    let events = data["events"].as_array().unwrap();
    let numbers = events.iter().filter_map(|event| event["details"]["number"].as_u64());
    assert!(numbers.eq(1..=100_000), "every event once, in order");
    assert_eq!(events.last().unwrap()["event"], "data_exported");
    for list in ["sessions", "mails", "mailed_links", "waiting"] {
        assert!(data[list].is_array(), "{list}");
    }
    let used = peak(&server).saturating_sub(before);
    println!("{} MiB exported, {used} KiB more memory", file.body.len() / 1_048_576);
    assert!(used < 40 * 1024, "{used} KiB");
}

#[test]
fn every_list_of_an_export_is_read_in_pages() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    database.db_create_sessions(ADA, 600);
    for (table, sql) in [
        ("mails", "INSERT INTO mail_outbox (id, kind, user_id, recipient, sealed, state, finished_at)
                   SELECT gen_random_uuid(), 'new_device', id, email, NULL, 'sent', now()
                     FROM users, generate_series(1, 500)"),
        ("links", "INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, expires_at)
                   SELECT sha256(number::text::bytea), 'undo_email_change', id, email, email_canonical, now() + interval '1 day'
                     FROM users, generate_series(1, 700) AS number"),
        ("requests", "INSERT INTO registrations
                             (id, ticket_digest, email, email_canonical, display_name, password_hash, expires_at, mailed_at)
                      SELECT gen_random_uuid(), sha256(number::text::bytea), email, email_canonical, 'Guest', password_hash,
                             now() + interval '1 day', now()
                        FROM users, generate_series(1, 300) AS number"),
    ] {
        assert!(database.db_execute(sql) >= 300, "{table}");
    }
    let mails = database.db_count("SELECT count(*) FROM mail_outbox") as usize;
    let data: Value = serde_json::from_str(&ada.post("/account/export", &[]).body).unwrap();
    let count = |list: &str| data[list].as_array().unwrap().len();
    assert_eq!(count("sessions"), 601);
    assert_eq!(count("mails"), mails);
    assert_eq!(
        count("mailed_links"),
        700 + database
            .db_count("SELECT count(*) FROM email_tokens WHERE purpose <> 'undo_email_change'")
            as usize
    );
    assert_eq!(count("waiting"), 300);
}

#[test]
fn clients_that_read_nothing_occupy_no_connection_and_others_are_refused_for_a_while() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    db_create_events(&database, ADA, 30_000);
    // Exports are counted by account; here the number of those that run is tested.
    let stalled: Vec<TcpStream> = (0..16)
        .map(|_| {
            database.db_execute("DELETE FROM throttles");
            let stream = start_export(&server, &ada);
            // The head has arrived, so the export runs.
            stream.peek(&mut [0]).unwrap();
            stream
        })
        .collect();
    let busy = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'frontdesk' AND state <> 'idle'";
    until(|| database.db_count(busy) == 0);
    database.db_execute("DELETE FROM throttles");
    let refused = ada.post("/account/export", &[]);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("30")));
    assert_eq!(ada.get("/account").status, 200);
    drop(stalled);
    until(|| {
        database.db_execute("DELETE FROM throttles");
        ada.post("/account/export", &[]).status == 200
    });
}

#[test]
fn an_export_whose_session_ends_meanwhile_ends_incomplete() {
    let (server, database) = site();
    let ada = registered(&server, ADA);
    db_create_events(&database, ADA, 50_000);
    let mut stream = start_export(&server, &ada);
    let mut text = vec![0; 1024];
    stream.read_exact(&mut text).unwrap();
    assert!(text.starts_with(b"HTTP/1.1 200 "));
    database.db_execute("DELETE FROM sessions");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).ok();
    assert!(!rest.ends_with(b"\r\n0\r\n\r\n"), "the end of the body is missing");
    until(|| server.log().contains("an export ended incomplete"));
}
