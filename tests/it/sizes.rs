//! One user with ten times as many sessions and audit events as anyone should have.

use crate::command_line::run;
use crate::support::{Browser, Database, PASSWORD, registered, site};

const SESSIONS: i64 = 20_000;
const EVENTS: i64 = 200_000;
const EMAIL: &str = "ada@example.com";

fn db_fill(database: &Database) {
    let sessions = database.db_execute(&format!(
        "INSERT INTO sessions (token_digest, id, user_id, authenticated_at, auth_methods, ip_address, user_agent,
                               created_at, last_seen_at, idle_timeout, expires_at, absolute_expires_at)
         SELECT sha256(n::text::bytea), gen_random_uuid(), u.id, now(), '{{pwd}}', '203.0.113.9',
                'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0',
                now() - make_interval(secs => n), now() - make_interval(secs => n % 3000), interval '1 day',
                now() + interval '1 day', now() + interval '1 day'
           FROM generate_series(1, {SESSIONS}) AS n, users u WHERE u.email = '{EMAIL}'"
    ));
    let events = database.db_execute(&format!(
        "INSERT INTO audit_events (occurred_at, event, user_id, ip_address, user_agent, details)
         SELECT now() - make_interval(secs => n), CASE WHEN n % 3 = 0 THEN 'signed_in' ELSE 'sign_in_refused' END,
                u.id, '203.0.113.9', 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0',
                CASE WHEN n % 3 = 0 THEN '{{}}'::jsonb ELSE '{{\"why\": \"wrong_password\"}}'::jsonb END
           FROM generate_series(1, {EVENTS}) AS n, users u WHERE u.email = '{EMAIL}'"
    ));
    assert_eq!((sessions as i64, events as i64), (SESSIONS, EVENTS));
    database.db_execute("VACUUM ANALYZE sessions");
    database.db_execute("VACUUM ANALYZE audit_events");
}

/// Follows the link to the next page of a list until there is none, for at most `pages` pages.
fn read_list(browser: &mut Browser, path: &str, pages: usize) -> usize {
    let (mut next, mut count) = (Some(path.to_owned()), 0);
    while let Some(page) = next.take().filter(|_| count < pages) {
        let response = browser.get(&page);
        assert_eq!(response.status, 200, "{page}: {}", response.body);
        assert!(response.body.len() < 200_000, "{page}: {} bytes", response.body.len());
        let links =
            response.body.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let older = links.filter(|link| link.starts_with(&format!("{path}?"))).last();
        next = older.map(|link| link.replace("&amp;", "&"));
        count += 1;
    }
    count
}

#[test]
fn an_account_with_20000_sessions_and_200000_events_works_like_any_other() {
    let (server, database) = site();
    let mut ada = registered(&server, EMAIL);
    db_fill(&database);
    for page in ["", "/profile", "/email", "/password", "/confirm", "/export", "/delete"] {
        let status = ada.get(&format!("/account{page}")).status;
        assert!([200, 303].contains(&status), "{page}: {status}");
    }
    assert!(read_list(&mut ada, "/account/activity", 5) == 5, "the audit log has pages");
    read_list(&mut ada, "/account/sessions", 5);
    let export = ada.post("/account/export", &[]);
    assert_eq!(export.status, 200);
    let export: serde_json::Value = serde_json::from_str(&export.body).expect("complete");
    let lengths = |name: &str| export[name].as_array().map_or(0, Vec::len) as i64;
    assert!(lengths("sessions") >= SESSIONS, "{} sessions", lengths("sessions"));
    assert!(lengths("events") >= EVENTS, "{} events", lengths("events"));
    let response = ada.post("/account/sessions/revoke-others", &[]);
    assert_eq!(response.status, 303, "{}", response.body);
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 1);
    let ended = "SELECT count(*) FROM audit_events WHERE event = 'session_ended'";
    assert_eq!(database.db_count(ended), SESSIONS);
    assert_eq!(server.browser().login(EMAIL, PASSWORD).status, 303);
    let output = run(&database, &["user", "delete", EMAIL, "--yes"], "");
    assert_eq!(output.code, 0, "{}", output.error);
    assert!(!ada.is_signed_in());
    let named =
        "SELECT count(*) FROM audit_events WHERE ip_address IS NOT NULL OR user_agent IS NOT NULL";
    assert_eq!(database.db_count(named), 0);
    assert!(!server.log().contains("answered 50"), "{}", server.log());
}
