//! Refused codes and links in the audit log: enough to see an attack, and never more than a few for each.

use frontdesk::crypto::secret::Secret;

use crate::support::mail::{db_clear_rate_limits, db_mail};
use crate::support::{Database, PASSWORD, registered, site, verified_site};

/// The recorded refusals, oldest first: the attempts, whether a wait began, and whether the user is known.
fn db_refusals(database: &Database, event: &str) -> Vec<String> {
    database.db_texts(&format!(
        "SELECT concat_ws(' ', details->>'attempts', CASE WHEN (details->>'seconds')::integer > 0 THEN 'wait' END,
                          CASE WHEN user_id IS NOT NULL THEN 'user' END)
           FROM audit_events WHERE event = '{event}' ORDER BY id"
    ))
}

#[test]
fn wrong_codes_are_recorded_at_the_first_and_fifth_attempt_and_when_a_wait_begins() {
    let (server, database) = verified_site();
    let mut ada = server.browser();
    let fields = [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
    assert_eq!(ada.post("/register", &fields).status, 303);
    db_mail(&database, "verify_registration", 1);
    for _ in 0..15 {
        assert_eq!(ada.post("/verify-email", &[("code", "22222222")]).status, 422);
    }
    assert_eq!(db_refusals(&database, "code_refused"), ["1", "5", "15 wait"]);
    // During the wait, attempts are refused before the code is compared.
    assert_eq!(ada.post("/verify-email", &[("code", "22222222")]).status, 429);
    assert_eq!(db_refusals(&database, "code_refused").len(), 3);
}

#[test]
fn a_wrong_code_of_a_signed_in_user_is_recorded_for_the_user() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    for _ in 0..2 {
        let refused = ada.post("/account/email/code", &[("verify_code", "22222222")]);
        assert_eq!(refused.status, 422);
    }
    assert_eq!(db_refusals(&database, "code_refused"), ["1 user"]);
    assert!(ada.get("/account/activity").body.contains("Wrong or expired code entered"));
}

#[test]
fn forms_with_dead_links_are_recorded_at_the_first_and_fifth_attempt_and_when_a_wait_begins() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let mut browser = server.browser();
    let dead = |folder: &str| format!("/{folder}/{}", Secret::generate().reveal());
    let folders = ["reset-password", "verify-email", "undo-email-change"];
    for folder in folders {
        // Opening a link changes nothing, and records nothing.
        assert_eq!(browser.get(&dead(folder)).status, 410);
    }
    assert_eq!(db_refusals(&database, "link_refused").len(), 0);
    for attempt in 1..=30 {
        let fields = [("new_password", PASSWORD), ("password", PASSWORD)];
        let refused = browser.post(&dead(folders[attempt % 3]), &fields);
        assert_eq!(refused.status, 410, "attempt {attempt}");
    }
    assert_eq!(db_refusals(&database, "link_refused"), ["1", "5", "30 wait"]);
    assert_eq!(browser.post(&dead("reset-password"), &[]).status, 429);
    assert_eq!(db_refusals(&database, "link_refused").len(), 3);
}

#[test]
fn an_expired_link_is_recorded_for_its_user() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let secret = Secret::generate();
    database.db_execute(&format!(
        "INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, expires_at)
         SELECT decode('{}', 'hex'), 'reset_password', id, email, email_canonical, now() - interval '1 minute' FROM users",
        hex::encode(secret.digest().as_bytes())
    ));
    db_clear_rate_limits(&database);
    let link = format!("/reset-password/{}", secret.reveal());
    assert_eq!(server.browser().post(&link, &[("new_password", PASSWORD)]).status, 410);
    assert_eq!(db_refusals(&database, "link_refused"), ["1 user"]);
}
