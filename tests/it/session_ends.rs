//! Expiry and revocation of sessions; an ended session stays ended.

use crate::support::server::KEY;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

#[test]
fn a_session_expires_at_its_idle_timeout_by_the_database_clock() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    database.db_execute(
        "UPDATE sessions SET last_seen_at = last_seen_at - interval '1h 59m', expires_at = expires_at - interval '1h 59m'",
    );
    assert!(browser.is_signed_in());
    database.db_execute(
        "UPDATE sessions SET last_seen_at = now() - idle_timeout, expires_at = now() - interval '1 second'",
    );
    assert!(!browser.is_signed_in());
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 1, "a read does not purge");
}

#[test]
fn a_session_expires_at_its_absolute_timeout_even_while_in_use() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    database.db_execute(
        "UPDATE sessions SET created_at = now() - interval '23h 59m', last_seen_at = now() - interval '5 minutes',
                absolute_expires_at = now() + interval '2 seconds', expires_at = now() + interval '2 seconds'",
    );
    assert!(browser.is_signed_in());
    // Close to expiry, the last-seen time was written immediately, and did not move the absolute timeout.
    assert_eq!(
        database.db_count("SELECT count(*) FROM sessions WHERE expires_at > absolute_expires_at"),
        0
    );
    database.db_execute(
        "UPDATE sessions SET absolute_expires_at = now() - interval '1 second', expires_at = now() - interval '1 second'",
    );
    assert!(!browser.is_signed_in());
}

#[test]
fn activity_shortly_before_the_idle_timeout_extends_the_session() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    database.db_execute(
        "UPDATE sessions SET last_seen_at = now() - interval '119m 58s', expires_at = now() + interval '2 seconds'",
    );
    assert!(browser.is_signed_in());
    let left =
        database.db_count("SELECT EXTRACT(EPOCH FROM expires_at - now())::bigint FROM sessions");
    assert!(left > 7100, "{left}");
}

#[test]
fn a_longer_timeout_setting_does_not_extend_existing_sessions() {
    let database = Database::new();
    let short = Server::start(&database, &[("FRONTDESK_SESSION_IDLE_TIMEOUT", "10m")]);
    let browser = registered(&short, "ada@example.com");
    let long = Server::start(&database, &[("FRONTDESK_SESSION_IDLE_TIMEOUT", "20h")]);
    database.db_execute(
        "UPDATE sessions SET last_seen_at = now() - interval '595 seconds', expires_at = now() + interval '5 seconds'",
    );
    assert!(browser.on_server(&long.addr).is_signed_in());
    let left =
        database.db_count("SELECT EXTRACT(EPOCH FROM expires_at - now())::bigint FROM sessions");
    assert!((590..=600).contains(&left), "{left}");
}

#[test]
fn deleting_a_session_row_signs_the_browser_out_on_its_next_request() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    database.db_execute("DELETE FROM sessions");
    assert!(!browser.is_signed_in());
}

#[test]
fn disabling_or_deleting_an_account_revokes_its_sessions() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut bob = registered(&server, "bob@example.com");
    database.db_execute("UPDATE users SET disabled_at = now() WHERE email = 'ada@example.com'");
    database.db_execute("DELETE FROM users WHERE email = 'bob@example.com'");
    assert!(!ada.is_signed_in());
    assert!(!bob.is_signed_in());
}

#[test]
fn revoking_one_session_keeps_the_others() {
    let (server, database) = site();
    let mut here = registered(&server, "ada@example.com");
    let (mut there, mut elsewhere) = (server.browser(), server.browser());
    there.login("ada@example.com", PASSWORD);
    elsewhere.login("ada@example.com", PASSWORD);
    let ids = database.db_texts("SELECT id::text FROM sessions ORDER BY created_at");
    let answer = here.post(&format!("/account/sessions/{}/revoke", ids[1]), &[]);
    assert_eq!((answer.status, answer.location()), (303, "/account/sessions"));
    assert!(here.get("/account/sessions").body.contains("Signed out of Firefox on Linux."));
    assert!(!there.is_signed_in());
    assert!(elsewhere.is_signed_in());
    here.post("/account/sessions/revoke-others", &[]);
    assert!(!elsewhere.is_signed_in());
    assert!(here.is_signed_in());
}

#[test]
fn foreign_malformed_and_deleted_session_ids_get_the_same_404() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut bob = registered(&server, "bob@example.com");
    let bobs = database.db_texts(
        "SELECT s.id::text FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.email = 'bob@example.com'",
    );
    let mut seen = Vec::new();
    for id in [bobs[0].as_str(), "not-an-id", "%00", "01a20ac9-362c-7088-badc-46d695f6783a"] {
        let answer = ada.post(&format!("/account/sessions/{id}/revoke"), &[]);
        assert_eq!(answer.status, 404, "{id}");
        let request = answer.header("x-request-id").unwrap().to_owned();
        seen.push(answer.body.replace(&request, "ID"));
    }
    assert!(seen.iter().all(|body| *body == seen[0]));
    assert!(bob.is_signed_in());
}

#[test]
fn the_sessions_page_contains_no_credential() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    let page = browser.get("/account/sessions").body;
    assert!(
        page.contains("This device")
            && page.contains("Firefox on Linux")
            && page.contains("127.0.0.1")
    );
    let sealed = browser.session().unwrap().to_owned();
    assert!(!page.contains(&sealed[..20]));
    let digest = database.db_texts("SELECT encode(token_digest, 'hex') FROM sessions");
    assert!(!page.contains(&digest[0]));
}

#[test]
fn a_password_change_revokes_every_other_session_and_rotates_its_own() {
    let (server, database) = site();
    let mut here = registered(&server, "ada@example.com");
    let (mut there, mut remembered) = (server.browser(), server.browser());
    there.login("ada@example.com", PASSWORD);
    remembered.post(
        "/login",
        &[("email", "ada@example.com"), ("password", PASSWORD), ("remember_me", "on")],
    );
    let mut before = here.clone();
    for (current, new, error) in [
        (OTHER_PASSWORD, OTHER_PASSWORD, "Choose another."),
        ("not my password", OTHER_PASSWORD, "That is not your current password."),
        (PASSWORD, "short", "Use at least 8 characters."),
        (PASSWORD, PASSWORD, "This is the password you have now."),
        ("", OTHER_PASSWORD, "Enter your current password."),
    ] {
        let answer =
            here.post("/account/password", &[("current_password", current), ("new_password", new)]);
        assert_eq!(answer.status, 422, "{error}");
        assert!(answer.body.contains(error), "{error}");
    }
    assert!(there.is_signed_in());
    let answer = here.post(
        "/account/password",
        &[("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)],
    );
    assert_eq!(answer.status, 303);
    assert!(here.is_signed_in());
    assert!(!before.is_signed_in() && !there.is_signed_in() && !remembered.is_signed_in());
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 1);
    assert_eq!(server.browser().login("ada@example.com", PASSWORD).status, 422);
    assert_eq!(server.browser().login("ada@example.com", OTHER_PASSWORD).status, 303);
    let events =
        database.db_texts("SELECT event FROM audit_events WHERE event = 'password_changed'");
    assert_eq!(events.len(), 1);
}

#[test]
fn no_value_in_a_full_database_dump_signs_in() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let mut other = server.browser();
    other.login("ada@example.com", PASSWORD);
    let mut values = Vec::new();
    for table in ["users", "sessions", "audit_events"] {
        values.extend(database.db_texts(&format!(
            "SELECT coalesce(value, '') FROM {table} AS t, LATERAL jsonb_each_text(to_jsonb(t)) AS fields (name, value)"
        )));
    }
    let digests = database.db_texts("SELECT encode(token_digest, 'base64') FROM sessions");
    let hex = database.db_texts("SELECT encode(token_digest, 'hex') FROM sessions");
    for digest in &digests {
        values.push(digest.clone());
        values.push(digest.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned());
    }
    values.extend(hex);
    let everything = values.clone();
    values.extend(
        everything
            .iter()
            .map(|value| crate::support::browser::encode(&[("", value)])[1..].to_owned()),
    );
    assert!(values.len() > 100, "{}", values.len());
    for value in values {
        let mut browser = server.browser();
        let safe: String = value.chars().filter(|letter| !letter.is_control()).collect();
        browser.cookies.insert("session".to_owned(), safe);
        assert!(!browser.is_signed_in(), "{value}");
    }
    // A digest sealed with the server's own key is not a credential either: the server hashes the secret in
    // the cookie to find the row.
    use actix_web::cookie::{Cookie, CookieJar, Key};
    for digest in digests {
        let text = digest.replace('+', "-").replace('/', "_");
        let mut jar = CookieJar::new();
        jar.private_mut(&Key::derive_from(KEY.as_bytes()))
            .add(Cookie::new("session", text.trim_end_matches('=').to_owned()));
        let sealed = jar.get("session").unwrap().encoded().to_string();
        let mut browser = server.browser();
        browser.cookies.insert("session".to_owned(), sealed.split_once('=').unwrap().1.to_owned());
        assert!(!browser.is_signed_in());
    }
}
