//! Reauthentication: when it is required, and that the original request completes afterwards.

use serde_json::Value;

use crate::support::browser::encode;
use crate::support::mail::db_mail;
use crate::support::{
    Browser, Database, OTHER_PASSWORD, PASSWORD, Response, Server, registered, site,
};

const EXPIRE_AUTHENTICATION: &str =
    "UPDATE sessions SET authenticated_at = now() - interval '15 minutes'";

/// The value of a hidden field.
fn hidden_field(response: &Response, name: &str) -> String {
    let rest = response.body.split(&format!("name=\"{name}\" value=\"")).nth(1);
    let value = rest.and_then(|rest| rest.split('"').next()).unwrap_or_default();
    value.replace("&amp;", "&").replace("&#x2F;", "/")
}

/// Submits the reauthentication form, as a browser does.
fn confirm(browser: &mut Browser, prompt: &Response, password: &str) -> Response {
    let (next, original) = (hidden_field(prompt, "next"), hidden_field(prompt, "original_request"));
    let fields = [("password", password), ("next", &next), ("original_request", &original)];
    browser.post("/account/confirm", &fields)
}

fn is_deletion_due(database: &Database) -> bool {
    database.db_count("SELECT count(*) FROM users WHERE deletion_due_at IS NOT NULL") == 1
}

#[test]
fn an_old_authentication_asks_again_and_then_completes_the_original_post() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    database.db_execute(EXPIRE_AUTHENTICATION);
    let prompt = browser.post("/account/delete", &[]);
    assert_eq!(prompt.status, 403);
    assert!(prompt.body.contains("<h1>Confirm it&#39;s you</h1>"), "{}", prompt.body);
    assert!(!is_deletion_due(&database), "nothing is done yet");

    let wrong = confirm(&mut browser, &prompt, "not the password");
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("That password is incorrect."));
    assert!(!wrong.body.contains("not the password"));
    assert!(!is_deletion_due(&database));

    let before = browser.cookies.clone();
    let (next, original) = (hidden_field(&wrong, "next"), hidden_field(&wrong, "original_request"));
    let fields = [("password", PASSWORD), ("next", &next), ("original_request", &original)];
    let right = browser.post("/account/confirm", &fields);
    assert_eq!((right.status, right.location()), (307, "/account/delete"), "{}", right.body);
    assert_ne!(browser.cookies, before, "the session has a new secret");
    assert!(!is_deletion_due(&database), "only the original request does it");
    // After a 307 a browser sends the same body again.
    let done = browser.post(right.location(), &fields);
    assert_eq!((done.status, done.location()), (303, "/"), "{}", done.body);
    assert!(is_deletion_due(&database));
    let events = database.db_texts("SELECT event FROM audit_events ORDER BY id");
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let expected = ["registered", "signed_in", "confirm_refused", "confirmed", "session_ended"];
    assert_eq!(events[..5], expected);
}

#[test]
fn reauthentication_redirects_to_the_requested_page_and_never_to_another_site() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    let response = browser.get("/account/confirm?next=/account/profile");
    assert_eq!(
        (response.status, response.location()),
        (303, "/account/profile"),
        "recently authenticated"
    );
    let response = browser.get("/account/confirm?next=/account/confirm?next=x");
    assert_eq!(response.location(), "/account", "no redirect loop");
    for (next, to) in [
        ("/account/sessions?x=1", "/account/sessions?x=1"),
        ("//evil.example", "/account"),
        ("https://evil.example/", "/account"),
        ("/account/confirm", "/account"),
        ("", "/account"),
    ] {
        database.db_execute(EXPIRE_AUTHENTICATION);
        let prompt = browser.get(&format!("/account/confirm?{}", encode(&[("next", next)])));
        assert_eq!(prompt.status, 200, "{next}");
        let done = confirm(&mut browser, &prompt, PASSWORD);
        assert_eq!((done.status, done.location()), (303, to), "{next}");
    }
    let signed_out = server.browser().get("/account/confirm?next=/account/profile");
    assert!(signed_out.location().starts_with("/login?next="), "{signed_out:?}");
    assert_eq!(server.browser().post("/account/export", &[]).location(), "/login");
}

#[test]
fn recent_authentication_is_per_session_and_not_its_creation_time() {
    let (server, database) = site();
    let mut first = registered(&server, "ada@example.com");
    database.db_execute(EXPIRE_AUTHENTICATION);
    let mut second = server.browser();
    second.login("ada@example.com", PASSWORD);
    assert_eq!(second.post("/account/export", &[]).status, 200, "signed in a moment ago");
    assert_eq!(first.post("/account/export", &[]).status, 403, "the sign-in was on another device");
    let prompt = first.post("/account/export", &[]);
    assert_eq!(confirm(&mut first, &prompt, PASSWORD).location(), "/account/export");
    assert_eq!(first.post("/account/export", &[]).status, 200);
    // Only authenticated_at counts, not created_at.
    database.db_execute("UPDATE sessions SET created_at = now() - interval '20 hours'");
    assert_eq!(first.post("/account/export", &[]).status, 200);
    database.db_execute(
        "UPDATE sessions SET created_at = now(), authenticated_at = now() - interval '20 hours'",
    );
    assert_eq!(first.post("/account/export", &[]).status, 403);
    database.db_execute("UPDATE sessions SET authenticated_at = NULL");
    assert_eq!(first.post("/account/export", &[]).status, 403);
    for (seconds, status) in [(14 * 60 + 30, 200), (15 * 60, 403)] {
        database.db_execute(&format!(
            "UPDATE sessions SET authenticated_at = now() - interval '{seconds} seconds'"
        ));
        assert_eq!(first.post("/account/export", &[]).status, status, "{seconds} s");
    }
}

#[test]
fn the_sixth_data_export_is_rate_limited() {
    let (server, _database) = site();
    let mut ada = registered(&server, "ada@example.com");
    for _ in 0..5 {
        assert_eq!(ada.post("/account/export", &[]).status, 200);
    }
    let response = ada.post("/account/export", &[]);
    assert_eq!(response.status, 429);
    let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((240..=300).contains(&wait), "{wait}");
    assert!(ada.is_signed_in(), "only the export is rate limited");
}

#[test]
fn mailed_codes_and_links_do_not_reauthenticate_and_a_password_change_does() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    for (number, by_code) in [true, false].into_iter().enumerate() {
        database.db_execute("UPDATE sessions SET authenticated_at = now()");
        let email = format!("ada@new{number}.example.com");
        assert_eq!(browser.post("/account/email", &[("email", &email)]).status, 303);
        let mail = db_mail(&database, "change_email", number + 1);
        database.db_execute(EXPIRE_AUTHENTICATION);
        let before = browser.cookies["session"].clone();
        let response = if by_code {
            browser.post("/account/email/code", &[("change_code", mail.text("code"))])
        } else {
            browser.post(&format!("/verify-email/{}", mail.text("token")), &[])
        };
        assert_eq!((response.status, response.location()), (303, "/account/email"));
        assert_ne!(browser.cookies["session"], before, "the session has a new secret");
        assert!(browser.is_signed_in());
        assert_eq!(browser.post("/account/export", &[]).status, 403, "not reauthenticated");
        assert_eq!(browser.post("/account/delete", &[]).status, 403);
        assert!(!is_deletion_due(&database));
    }
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(browser.post("/account/password", &fields).status, 303);
    assert_eq!(browser.post("/account/export", &[]).status, 200);
}

#[test]
fn a_sealed_request_is_valid_only_unaltered_in_time_and_for_its_session_and_path() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut ada_second = server.browser();
    ada_second.login("ada@example.com", PASSWORD);
    let mut bob = registered(&server, "bob@example.com");
    database.db_execute(EXPIRE_AUTHENTICATION);
    let prompt = ada.post("/account/delete", &[]);
    let original = hidden_field(&prompt, "original_request");
    assert!(original.len() > 40);
    database.db_execute("UPDATE sessions SET authenticated_at = now()");
    let assert_rejected = |what: &str, response: Response| {
        assert_eq!(response.status, 400, "{what}: {}", response.body);
        assert_eq!(
            database.db_count("SELECT count(*) FROM users WHERE deletion_due_at IS NOT NULL"),
            0,
            "{what}"
        );
    };
    let field = |text: &str| [("original_request".to_owned(), text.to_owned())];
    let send = |browser: &mut Browser, path: &str, text: &str| {
        let fields = field(text);
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        browser.post(path, &fields)
    };
    assert_rejected("the session of another user", send(&mut bob, "/account/delete", &original));
    assert_rejected("another session", send(&mut ada_second, "/account/delete", &original));
    assert_rejected("another path", send(&mut ada, "/account/delete/cancel", &original));
    assert_rejected("an additional query", send(&mut ada, "/account/delete?x", &original));
    for place in [0, 20, original.len() / 2, original.len() - 3] {
        let mut altered = original.clone().into_bytes();
        altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert_rejected("altered", send(&mut ada, "/account/delete", &altered));
    }
    assert_rejected("empty", send(&mut ada, "/account/delete", ""));
    assert_rejected(
        "forged",
        send(&mut ada, "/account/delete", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    );
    let twice = [("original_request", original.as_str()), ("original_request", original.as_str())];
    assert_rejected("twice", ada.post("/account/delete", &twice));
    // The reauthentication form does not redirect to a request that would be rejected.
    let fields =
        [("password", PASSWORD), ("next", "/account/profile"), ("original_request", &original)];
    let response = ada.post("/account/confirm", &fields);
    assert_eq!((response.status, response.location()), (303, "/account"), "another path");
    database.db_execute("UPDATE sessions SET created_at = created_at - interval '16 minutes'");
    assert_rejected("late", send(&mut ada, "/account/delete", &original));
    let fields =
        [("password", PASSWORD), ("next", "/account/delete"), ("original_request", &original)];
    let response = ada.post("/account/confirm", &fields);
    assert_eq!((response.status, response.location()), (303, "/account"), "late");
    assert!(ada.get("/account").body.contains("Your request expired and nothing was changed."));
    database.db_execute("UPDATE sessions SET created_at = created_at + interval '16 minutes'");
    assert_eq!(
        send(&mut ada, "/account/delete", &original).status,
        303,
        "it is valid for its own session and path"
    );
}

#[test]
fn a_request_too_large_to_be_resumed_is_rejected() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    database.db_execute(EXPIRE_AUTHENTICATION);
    let large = "x".repeat(33 * 1024);
    assert_eq!(browser.post("/account/export", &[("a", &large)]).status, 413);
    let fits = "x".repeat(31 * 1024);
    let prompt = browser.post("/account/export", &[("a", &fits)]);
    assert_eq!(prompt.status, 403);
    assert_eq!(
        confirm(&mut browser, &prompt, PASSWORD).location(),
        "/account/export",
        "the sealed request fits into the form"
    );
    let wrong_type =
        browser.send("POST", "/account/export", &[("Content-Type", "text/plain")], "x");
    assert_eq!(wrong_type.status, 415);
}

#[test]
fn reauthentication_rotates_the_cookie_and_every_server_rejects_the_old_one() {
    let database = Database::new();
    let servers =
        [Server::start(&database, &[]).until_live(), Server::start(&database, &[]).until_live()];
    let mut browser = registered(&servers[0], "ada@example.com");
    let old = browser.clone();
    for server in &servers {
        assert!(old.on_server(&server.addr).is_signed_in());
    }
    database.db_execute(EXPIRE_AUTHENTICATION);
    let prompt = browser.get("/account/confirm?next=/account");
    assert_eq!(confirm(&mut browser, &prompt, PASSWORD).status, 303);
    for server in &servers {
        assert!(!old.on_server(&server.addr).is_signed_in(), "the old cookie");
        let mut first = browser.on_server(&server.addr);
        assert_eq!(
            first.post("/account/export", &[]).status,
            200,
            "recently authenticated on every server"
        );
    }
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 1);
}

#[test]
fn a_wrong_password_changes_nothing_and_is_in_the_audit_log() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    database.db_execute(EXPIRE_AUTHENTICATION);
    let cookies = browser.cookies.clone();
    for wrong in ["not it", "", &"x".repeat(2000)] {
        let response =
            browser.post("/account/confirm", &[("password", wrong), ("next", "/account")]);
        assert_eq!(response.status, 422);
    }
    assert_eq!(browser.post("/account/confirm", &[]).status, 422, "no field at all");
    assert_eq!(browser.post("/account/export", &[]).status, 403);
    assert_eq!(browser.cookies, cookies);
    assert!(browser.is_signed_in());
    let recorded = database.db_texts(
        "SELECT details->>'why' || ' ' || (session_id = (SELECT id FROM sessions))::text
           FROM audit_events WHERE event = 'confirm_refused'",
    );
    assert_eq!(
        recorded,
        ["wrong_password true"],
        "input that cannot be a password is not compared"
    );
    let change = [("current_password", "not it"), ("new_password", "seven umbrellas in the hall")];
    assert_eq!(browser.post("/account/password", &change).status, 422);
    let refused = "SELECT count(*) FROM audit_events WHERE event = 'confirm_refused'";
    assert_eq!(
        database.db_count(refused),
        2,
        "wrong guesses on the password page are recorded as well"
    );
}

/// A response that is a file would leave the browser on the page that asks for the password.
#[test]
fn reauthentication_for_an_export_leads_back_to_its_page_and_the_file_is_downloaded_from_there() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    database.db_execute(EXPIRE_AUTHENTICATION);
    let exports =
        || database.db_count("SELECT count(*) FROM audit_events WHERE event = 'data_exported'");
    let prompt = ada.post("/account/export", &[]);
    let wrong = confirm(&mut ada, &prompt, "not the password");
    assert!(wrong.status == 422 && wrong.body.contains("That password is incorrect."));
    let done = confirm(&mut ada, &wrong, PASSWORD);
    assert_eq!((done.status, done.location()), (303, "/account/export"));
    let page = ada.get(done.location());
    assert!(
        page.body.contains("role=\"status\"") && page.body.contains("You confirmed it&#39;s you.")
    );
    assert!(page.body.contains("action=\"/account/export\""));
    assert!(!page.body.contains("We&#39;ll ask for your password first."));
    assert!(!ada.get(done.location()).body.contains("role=\"status\""), "shown once");
    assert_eq!(exports(), 0, "only the form exports");
    let file = ada.post("/account/export", &[]);
    assert!(file.header("content-disposition").is_some() && exports() == 1);
}

#[test]
fn an_export_contains_all_data_of_the_user_and_no_credentials() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    registered(&server, "bob@example.com");
    server.browser().login("ada@example.com", "not the password");
    server.browser().post(
        "/login",
        &[("email", "ada@example.com"), ("password", PASSWORD), ("remember_me", "on")],
    );
    database.db_execute(
        "INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, expires_at)
         SELECT sha256('a'), 'verify_email', id, email, email_canonical, now() + interval '1 day' FROM users WHERE email LIKE 'ada%'",
    );
    database.db_execute(
        "INSERT INTO mail_outbox (id, kind, user_id, recipient, sealed)
         SELECT gen_random_uuid(), 'new_device', id, email, '\\xc0ffee' FROM users WHERE email LIKE 'ada%'",
    );
    let page = ada.get("/account/export");
    assert!(page.status == 200 && page.body.contains("Download your data"));
    assert_eq!(
        database.db_count("SELECT count(*) FROM audit_events WHERE event = 'data_exported'"),
        0
    );
    let file = ada.post("/account/export", &[]);
    assert_eq!(file.status, 200, "{}", file.body);
    for (header, value) in [
        ("content-type", "application/json; charset=utf-8"),
        ("content-disposition", "attachment; filename=\"your-account.json\""),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
    ] {
        assert_eq!(file.header(header), Some(value), "{header}");
    }
    let data: Value = serde_json::from_str(&file.body).unwrap();
    assert_eq!(data["account"]["email"], "ada@example.com");
    assert_eq!(data["account"]["has_password"], true);
    assert_eq!(data["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(
        data["sessions"].as_array().unwrap().iter().filter(|s| s["is_this_one"] == true).count(),
        1
    );
    let events: Vec<&str> = data["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect();
    assert_eq!(
        events,
        ["registered", "signed_in", "sign_in_refused", "signed_in", "data_exported"]
    );
    let kinds: Vec<_> =
        data["mails"].as_array().unwrap().iter().map(|mail| &mail["kind"]).collect();
    for kind in ["verify_email", "new_device"] {
        assert!(kinds.iter().any(|known| *known == kind), "{kind}: {kinds:?}");
    }
    assert_eq!(data["mailed_links"][0]["purpose"], "verify_email");
    assert!(!file.body.contains("bob@"), "no data of other users");
    let secrets = database.db_texts(
        "SELECT password_hash FROM users UNION ALL SELECT encode(token_digest, 'hex') FROM sessions
          UNION ALL SELECT encode(token_digest, 'hex') FROM email_tokens UNION ALL SELECT encode(sealed, 'hex') FROM mail_outbox",
    );
    for secret in secrets {
        assert!(!file.body.contains(&secret), "{secret}");
    }
    for word in ["argon2", "digest\"", "sealed"] {
        assert!(!file.body.contains(word), "{word}");
    }
}
