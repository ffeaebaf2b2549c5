//! What is left of a person after an account was deleted.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::support::breakpoint::until;
use crate::support::folder::new_folder;
use crate::support::mail::db_mail;
use crate::support::{Browser, Database, PASSWORD, Response, Server};

const IP: &str = "203.0.113.77";
const BROWSER: &str = "Mozilla/5.0 (Canary of Ada) Gecko/20100101 Firefox/145.0";
const PROXY: (&str, &str) = ("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1");

/// A full dump of the database, in lower case.
fn dump(database: &Database) -> String {
    let output = Command::new("pg_dump")
        .args(["--data-only", "--inserts", "--dbname", &database.url])
        .output()
        .expect("pg_dump is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").to_lowercase()
}

/// The lines of `dump` that contain `text`: as it is, or as an unkeyed digest, which can be found by trying all texts.
fn traces<'d>(dump: &'d str, text: &str) -> Vec<&'d str> {
    let mut forms =
        vec![text.to_lowercase(), hex::encode(text), STANDARD.encode(text).to_lowercase()];
    let prefixes = ["", "frontdesk throttle account\0", "frontdesk throttle address\0"];
    for prefix in prefixes {
        let digest = Sha256::digest([prefix.as_bytes(), text.as_bytes()].concat());
        forms.extend([hex::encode(digest), STANDARD.encode(digest).to_lowercase()]);
    }
    dump.lines().filter(|line| forms.iter().any(|form| line.contains(form))).collect()
}

fn ada(server: &Server) -> Browser {
    Browser { user_agent: BROWSER.to_owned(), ..server.browser() }
}

fn post(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Response {
    browser.post_from(IP, path, fields)
}

/// Registers with `first` and changes the email to `second`. Leaves rows in every table on the way.
fn live_a_life(server: &Server, database: &Database, first: &str, second: &str) -> Browser {
    let mut browser = ada(server);
    let fields = [("email", first), ("display_name", "Ada Canary"), ("password", PASSWORD)];
    assert_eq!(post(&mut browser, "/register", &fields).status, 303);
    let code = db_mail(database, "verify_registration", 1).text("code").to_owned();
    assert_eq!(post(&mut browser, "/verify-email", &[("code", &code)]).location(), "/account");
    assert_eq!(post(&mut browser, "/account/email", &[("email", second)]).status, 303);
    let code = db_mail(database, "change_email", 1).text("code").to_owned();
    let changed = post(&mut browser, "/account/email/code", &[("change_code", &code)]);
    assert_eq!(changed.status, 303, "{}", changed.body);
    // A wrong password, a mistyped email, a forgotten password, and requests by someone else.
    let mut other = ada(server);
    for (email, password) in [(second, "not the password"), ("ada.secnod@canary.example", PASSWORD)]
    {
        assert_eq!(other.login_from(IP, email, password).status, 422);
    }
    assert_eq!(post(&mut other, "/forgot-password", &[("email", second)]).status, 303);
    db_mail(database, "reset_password", 1);
    let fields = [("email", second), ("display_name", "X"), ("password", PASSWORD)];
    assert_eq!(post(&mut other, "/register", &fields).status, 303);
    db_mail(database, "already_registered", 1);
    browser
}

#[test]
fn a_dump_after_the_deletion_of_an_account_contains_no_trace_of_its_owner() {
    let database = Database::new();
    let (first, second) = ("ada.first@canary.example", "ada.second@canary.example");
    let needles = [first, second, "ada.secnod@canary.example", "Ada Canary", IP, BROWSER];
    {
        let server = Server::start(&database, &[("FRONTDESK_REGISTRATION", "verified"), PROXY]);
        let mut browser = live_a_life(&server, &database, first, second);
        let full = dump(&database);
        for needle in [first, second, "Ada Canary", IP, BROWSER] {
            assert!(!traces(&full, needle).is_empty(), "the test would not notice {needle}");
        }
        assert_eq!(post(&mut browser, "/account/delete", &[]).location(), "/");
    }
    database.db_execute("UPDATE users SET deletion_due_at = now()");
    let id = database.db_texts("SELECT id::text FROM users").remove(0);
    let folder = new_folder("erasure-mails");
    std::fs::create_dir_all(&folder).unwrap();
    let settings = [
        ("FRONTDESK_PURGE_INTERVAL", "1s"),
        ("FRONTDESK_MAIL_DIR", folder.to_str().unwrap()),
        PROXY,
    ];
    let _server = Server::start(&database, &settings);
    until(|| database.db_count("SELECT count(*) FROM users") == 0);
    // A request that was in progress during the deletion.
    database.db_execute(&format!(
        "INSERT INTO audit_events (event, user_id, session_id, ip_address, user_agent, request_id)
         VALUES ('sign_in_refused', '{id}', gen_random_uuid(), '{IP}', '{BROWSER}', gen_random_uuid())"
    ));
    until(|| {
        database.db_count(
            "SELECT count(*) FROM audit_events WHERE num_nonnulls(ip_address, user_agent, session_id, request_id) > 0",
        ) == 0
    });
    // The mail that confirms the deletion is deleted once it is sent.
    until(|| database.db_count("SELECT count(*) FROM mail_outbox") == 0);
    let left = dump(&database);
    for needle in needles {
        assert_eq!(traces(&left, needle), Vec::<&str>::new(), "{needle}");
    }
    let events = database.db_count(&format!(
        "SELECT count(*) FROM audit_events WHERE user_id = '{id}' AND event IN ('registered', 'account_deleted')"
    ));
    assert_eq!(events, 2, "what happened is kept");
}

#[test]
fn events_of_an_account_that_was_deleted_in_psql_are_anonymized_by_the_job() {
    let database = Database::new();
    let _server = {
        let server = Server::start(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s"), PROXY]);
        let fields =
            [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
        assert_eq!(post(&mut ada(&server), "/register", &fields).status, 303);
        server
    };
    database.db_execute("UPDATE audit_events SET occurred_at = now() - interval '100 days'");
    // Longer than the statement timeout of pages.
    database.db_execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN PERFORM pg_sleep(3); RETURN NEW; END'",
    );
    database.db_execute(
        "CREATE TRIGGER slow BEFORE UPDATE ON audit_events FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    database.db_execute("DELETE FROM users");
    until(|| {
        database.db_count("SELECT count(*) FROM audit_events WHERE ip_address IS NOT NULL") == 0
    });
}

#[test]
fn a_sign_in_with_an_unknown_email_keeps_ip_address_and_browser_for_a_week() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s"), PROXY]);
    for email in ["ada.secnod@example.com", "ada.thrid@example.com"] {
        assert_eq!(ada(&server).login_from(IP, email, PASSWORD).status, 422);
    }
    database.db_execute(
        "UPDATE audit_events SET occurred_at = now() - CASE WHEN id % 2 = 0 THEN interval '8 days' ELSE interval '6 days' END",
    );
    until(|| database.db_count("SELECT count(*) FROM audit_events WHERE ip_address IS NULL") == 1);
    let kept = database.db_texts(
        "SELECT host(ip_address) || ' ' || user_agent FROM audit_events WHERE occurred_at > now() - interval '7 days'",
    );
    assert_eq!(kept, [format!("{IP} {BROWSER}")]);
    assert_eq!(
        database.db_count("SELECT count(*) FROM audit_events WHERE event = 'sign_in_refused'"),
        2
    );
}
