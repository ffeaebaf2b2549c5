//! Password reset: the effects of the link, and when it becomes invalid.

use std::fs;
use std::path::Path;

use crate::support::breakpoint::until;
use crate::support::browser::encode;
use crate::support::mail::{db_clear_rate_limits, db_mail, db_mails};
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, raw, registered, site};

const NEW: &str = "a third password of theirs";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// Requests a link and returns its path; it is the `count`th requested link.
fn link(server: &Server, database: &Database, email: &str, count: usize) -> String {
    let answer = server.browser().post("/forgot-password", &[("email", email)]);
    assert_eq!((answer.status, answer.location()), (303, "/forgot-password?sent"));
    db_clear_rate_limits(database);
    let mail = db_mail(database, "reset_password", count);
    format!("/reset-password/{}", mail.text("token"))
}

fn set(browser: &mut Browser, link: &str, password: &str) -> u16 {
    browser.post(link, &[("new_password", password)]).status
}

#[test]
fn a_password_reset_revokes_every_session_signs_no_one_in_and_notifies_the_owner() {
    let (server, database) = site();
    let mut here = registered(&server, "ada@example.com");
    let mut there = server.browser();
    there.login("ada@example.com", PASSWORD);
    let link = link(&server, &database, " ADA@example.com ", 1);
    let page = here.open(&link);
    assert!(page.body.contains("ada@example.com"));
    let weak = here.post(&link, &[("new_password", "12345678")]);
    assert_eq!(weak.status, 422, "the rules for new passwords apply here too");
    assert!(here.is_signed_in());
    let answer = here.post(&link, &[("new_password", OTHER_PASSWORD)]);
    assert_eq!((answer.status, answer.location()), (303, "/login"));
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
    assert!(!here.is_signed_in() && !there.is_signed_in());
    assert!(here.get("/login").body.contains("signed out everywhere"));
    let mail = db_mail(&database, "password_changed", 1);
    assert_eq!(
        (mail.recipient.as_str(), mail.data["by_reset"].as_bool()),
        ("ada@example.com", Some(true))
    );
    assert_eq!(server.browser().login("ada@example.com", PASSWORD).status, 422);
    assert_eq!(server.browser().login("ada@example.com", OTHER_PASSWORD).status, 303);
    assert_eq!(
        database.db_texts(
            "SELECT event || ' ' || coalesce(details->>'cause', details->>'ended_sessions', '')
               FROM audit_events WHERE event LIKE '%reset%' OR event = 'session_ended' ORDER BY id"
        ),
        [
            "password_reset_requested ",
            "session_ended password_reset",
            "session_ended password_reset",
            "password_reset 2"
        ]
    );
    assert_eq!(set(&mut here, &link, NEW), 410);
}

#[test]
fn a_reset_names_its_account_if_another_one_is_signed_in_and_says_one_thing_if_none_is() {
    let (server, database) = site();
    let mut rita = registered(&server, "rita@example.com");
    let mut bob = registered(&server, "bob@example.com");
    let path = link(&server, &database, "rita@example.com", 1);
    bob.open(&path);
    let answer = bob.post(&path, &[("new_password", OTHER_PASSWORD)]);
    assert_eq!((answer.status, answer.location()), (303, "/account"));
    let page = bob.get("/account").body;
    assert!(
        page.contains("The password of <bdi>rita@example.com</bdi> has been changed."),
        "{page}"
    );
    assert!(!page.contains("signed out everywhere"), "{page}");
    // Her browser still has the cookie of the session that the reset ended.
    let path = link(&server, &database, "rita@example.com", 2);
    rita.open(&path);
    assert_eq!(rita.post(&path, &[("new_password", NEW)]).status, 303);
    let page = rita.get("/login").body;
    assert!(page.contains("Your password has been changed"), "{page}");
    assert_eq!(page.matches("role=\"status\"").count(), 1, "{page}");
}

#[test]
fn the_longest_notice_is_shown() {
    let (server, _database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let name = "\u{1D49C}".repeat(64);
    assert_eq!(ada.post("/account/profile", &[("display_name", &name)]).status, 303);
    assert!(ada.get("/account/profile").body.contains("Your name is now"));
    let label = "b".repeat(60);
    let email = format!("{}@{label}.{label}.{label}.com", "a".repeat(60));
    assert_eq!(email.len(), 247);
    assert_eq!(ada.post("/account/email", &[("email", &email)]).status, 303);
    let page = ada.get("/account/email").body;
    assert!(page.contains(&format!("<bdi>{email}</bdi>")), "{page}");
    assert_eq!(ada.cookies.get("notice").map(String::as_str).unwrap_or_default(), "");
}

#[test]
fn thirty_concurrent_uses_of_a_reset_link_set_one_password() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let link = link(&server, &database, "ada@example.com", 1);
    let statuses: Vec<(usize, u16)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..30)
            .map(|number| {
                let (mut browser, link) = (server.browser(), link.as_str());
                scope.spawn(move || {
                    (number, set(&mut browser, link, &format!("password of user {number}")))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let good: Vec<_> = statuses.iter().filter(|(_, status)| *status == 303).collect();
    assert_eq!(good.len(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|(_, status)| [303, 410, 429].contains(status)), "{statuses:?}");
    db_clear_rate_limits(&database);
    let password = format!("password of user {}", good[0].0);
    assert_eq!(server.browser().login("ada@example.com", &password).status, 303);
    assert_eq!(
        db_mails(&database).iter().filter(|mail| mail.kind == "password_changed").count(),
        1
    );
}

#[test]
fn a_reset_link_still_works_after_ten_get_and_head_requests() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let link = link(&server, &database, "ada@example.com", 1);
    let mut browser = server.browser();
    for _ in 0..10 {
        assert_eq!(browser.open(&link).status, 200);
        assert_eq!(browser.send("HEAD", &link, &[], "").status, 303);
    }
    assert!(!browser.is_signed_in());
    assert_eq!(set(&mut browser, &link, OTHER_PASSWORD), 303);
}

#[test]
fn a_newer_link_a_new_password_or_a_new_email_invalidates_older_reset_links() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let first = link(&server, &database, "ada@example.com", 1);
    let second = link(&server, &database, "ada@example.com", 2);
    assert_eq!(set(&mut server.browser(), &first, NEW), 410, "a newer link");
    assert_eq!(server.browser().open(&second).status, 200);
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(ada.post("/account/password", &fields).status, 303);
    assert_eq!(set(&mut server.browser(), &second, NEW), 410, "a new password");
    let third = link(&server, &database, "ada@example.com", 3);
    ada.post("/account/email", &[("email", "ada@new.example.com")]);
    let code = db_mail(&database, "change_email", 1).text("code").to_owned();
    assert_eq!(ada.post("/account/email/code", &[("change_code", &code)]).status, 303);
    assert_eq!(set(&mut server.browser(), &third, NEW), 410, "a new email");
    assert_eq!(server.browser().login("ada@new.example.com", OTHER_PASSWORD).status, 303);
}

#[test]
fn a_reset_link_expires_after_thirty_minutes_or_with_its_account() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let path = link(&server, &database, "ada@example.com", 1);
    let left = "SELECT EXTRACT(EPOCH FROM expires_at - now())::bigint FROM email_tokens WHERE purpose = 'reset_password'";
    assert!((1790..=1800).contains(&database.db_count(left)));
    database.db_execute("UPDATE users SET disabled_at = now()");
    assert_eq!(set(&mut server.browser(), &path, NEW), 410);
    database.db_execute("UPDATE users SET disabled_at = NULL");
    database.db_execute("UPDATE email_tokens SET expires_at = now()");
    let pages: Vec<_> = [path.as_str(), "/reset-password/nothing-of-ours"]
        .iter()
        .map(|path| server.browser().get(path))
        .collect();
    for page in &pages {
        assert_eq!(page.status, 410);
        assert!(page.body.contains("This link no longer works"));
    }
    assert_eq!(set(&mut server.browser(), &path, NEW), 410);
    let again = link(&server, &database, "ada@example.com", 2);
    database.db_execute("DELETE FROM users");
    assert_eq!(set(&mut server.browser(), &again, NEW), 410);
}

#[test]
fn a_mailed_link_works_only_for_its_own_purpose() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let verify = db_mail(&database, "verify_email", 1).text("token").to_owned();
    let reset = link(&server, &database, "ada@example.com", 1);
    let reset = reset.rsplit_once('/').unwrap().1;
    for (path, fields) in [
        (format!("/reset-password/{verify}"), [("new_password", OTHER_PASSWORD)]),
        (format!("/undo-email-change/{verify}"), [("x", "")]),
        (format!("/verify-email/{reset}"), [("password", PASSWORD)]),
        (format!("/undo-email-change/{reset}"), [("x", "")]),
    ] {
        assert_eq!(ada.get(&path).status, 410, "{path}");
        assert_eq!(ada.post(&path, &fields).status, 410, "{path}");
        db_clear_rate_limits(&database);
    }
    assert!(ada.is_signed_in());
    assert_eq!(set(&mut server.browser(), &format!("/reset-password/{reset}"), NEW), 303);
}

#[test]
fn host_headers_of_a_request_do_not_reach_mailed_links() {
    let database = Database::new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mail-of-hosts");
    fs::remove_dir_all(&folder).ok();
    let server = Server::start(
        &database,
        &[
            ("FRONTDESK_MAIL_DIR", folder.to_str().unwrap()),
            ("FRONTDESK_REGISTRATION", "open"),
            ("FRONTDESK_PUBLIC_URL", "https://desk.example.com"),
        ],
    );
    registered(&server, "ada@example.com");
    let body = encode(&[("email", "ada@example.com")]);
    let head = |line: &str, host: &str, more: &str| {
        format!(
            "POST {line} HTTP/1.1\r\nHost: {host}\r\n{more}{}: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            FORM.0,
            FORM.1,
            body.len()
        )
    };
    let own = server.addr.as_str();
    for (index, request) in [
        head("/forgot-password", own, ""),
        head("/forgot-password", "evil.example", ""),
        head(
            "/forgot-password",
            own,
            "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n",
        ),
        head("/forgot-password", own, "Forwarded: host=evil.example;proto=https\r\n"),
        head("http://evil.example/forgot-password", own, ""),
        head("http://evil.example/forgot-password", "evil.example", "X-Original-URL: /x\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = raw(&server.addr, request.as_bytes()).unwrap();
        assert_eq!((answer.status, answer.location()), (303, "/forgot-password?sent"), "{request}");
        db_clear_rate_limits(&database);
        let mut mails = Vec::new();
        until(|| {
            mails = written_mails(&folder);
            mails.retain(|mail| mail.contains("/reset-password/"));
            mails.len() == index + 1
        });
        for mail in &mails {
            assert!(mail.contains("To: ada@example.com\r\n"), "{mail}");
            let mut links = mail.split("://").skip(1);
            assert!(links.all(|rest| rest.starts_with("desk.example.com/")), "{request}: {mail}");
            assert!(mail.contains("https://desk.example.com/reset-password/"), "{mail}");
            assert!(!mail.contains("evil"), "{request}: {mail}");
        }
    }
}

/// The mails in this folder, with quoted-printable soft line breaks removed.
fn written_mails(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let complete = files.filter(|path| path.extension().is_some_and(|ending| ending == "eml"));
    complete.map(|path| fs::read_to_string(path).unwrap().replace("=\r\n", "")).collect()
}

#[test]
fn a_reset_takes_one_email_and_mails_only_the_stored_spelling() {
    let (server, database) = site();
    registered(&server, "Ada@Example.com");
    let body = "email=ada%40example.com&email=eve%40example.com";
    let answer = server.browser().send("POST", "/forgot-password", &[FORM], body);
    assert_eq!(answer.status, 422);
    let body = "email%5B%5D=ada%40example.com&email%5B%5D=eve%40example.com";
    assert_eq!(server.browser().send("POST", "/forgot-password", &[FORM], body).status, 422);
    link(&server, &database, "ａｄａ@example.com", 1);
    assert_eq!(db_mail(&database, "reset_password", 1).recipient, "Ada@example.com");
}

#[test]
fn a_password_change_is_mailed_to_the_owner() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    database.db_execute("UPDATE users SET email_verified_at = now()");
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    ada.post("/account/password", &fields);
    let mail = db_mail(&database, "password_changed", 1);
    assert_eq!(
        (mail.recipient.as_str(), mail.data["by_reset"].as_bool()),
        ("ada@example.com", Some(false))
    );
}
