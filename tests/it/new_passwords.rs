//! New passwords: every place where one is chosen refuses the same ones.

use crate::command_line::run;
use crate::mail::frontdesk;
use crate::support::mail::{db_clear_rate_limits, db_mail};
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered};

const ADA: &str = "ada@example.com";

#[test]
fn breached_passwords_and_the_sites_name_are_refused_wherever_a_password_is_chosen() {
    let database = Database::new();
    let acme = [("FRONTDESK_SITE_NAME", "Acme Works")];
    let server = Server::start(&database, &acme);
    let mut ada = registered(&server, ADA);
    server.browser().post("/forgot-password", &[("email", ADA)]);
    let reset =
        format!("/reset-password/{}", db_mail(&database, "reset_password", 1).text("token"));
    assert_eq!(run(&database, &["user", "invite", "eve@example.com"], "").code, 0);
    let invitation = format!("/invitation/{}", db_mail(&database, "invitation", 1).text("token"));
    for (password, reason) in [
        ("Password1 ", "one of the most common passwords"),
        ("Summer2024!", "one of the most common passwords"),
        ("passwordpassword", "one of the most common passwords"),
        ("monkey monkey monkey", "one of the most common passwords"),
        ("football1", "one of the most common passwords"),
        ("$ummer2024", "one of the most common passwords"),
        ("acme2026!", "the name of this site"),
        ("acm\u{200b}\u{e9}-2026-lamp", "the name of this site"),
        ("our works council", "the name of this site"),
    ] {
        for (path, fields) in [
            (
                "/register",
                [("email", "new@example.com"), ("display_name", "New"), ("password", password)],
            ),
            (
                "/account/password",
                [("current_password", PASSWORD), ("new_password", password), ("x", "")],
            ),
            (reset.as_str(), [("new_password", password), ("x", ""), ("y", "")]),
            (invitation.as_str(), [("display_name", "Eve"), ("password", password), ("x", "")]),
        ] {
            let response = ada.post(path, &fields);
            assert_eq!(response.status, 422, "{path}: {password}");
            assert!(response.body.contains(reason), "{path}: {password}: {}", response.body);
        }
        db_clear_rate_limits(&database);
    }
    assert_eq!(database.db_count("SELECT count(*) FROM users"), 1);
    // "Frontdesk" is not the name of this site.
    let fields = [("current_password", PASSWORD), ("new_password", "my frontdesk lamp")];
    assert_eq!(ada.post("/account/password", &fields).status, 303);
}

#[test]
fn the_command_line_refuses_breached_passwords() {
    let database = Database::new();
    let create = ["user", "create", ADA, "--name", "Will"];
    for password in
        ["Summer2024!", "passwordpassword", "Password1 ", "frontdesk-lamp-7", "will2026!!"]
    {
        let refused = run(&database, &create, password);
        assert_eq!(refused.code, 2, "{password}: {}", refused.error);
    }
    assert_eq!(run(&database, &create, "goodwill of thirty old letters").code, 0);
    for password in ["Summer2024!", "passwordpassword"] {
        assert_eq!(run(&database, &["user", "set-password", ADA], password).code, 2, "{password}");
    }
}

#[test]
fn only_the_user_chooses_a_password_where_mail_is_sent() {
    let database = Database::new();
    let folder = format!("{}/passwords-by-mail", env!("CARGO_TARGET_TMPDIR"));
    let sent = [("FRONTDESK_MAIL_DIR", folder.as_str())];
    let (code, out, error) = frontdesk(&database, &sent, &["user", "create", ADA, "--name", "Ada"]);
    assert!(code == 0 && out.contains("gets a link to choose a password"), "{out}{error}");
    let (code, _, error) = frontdesk(&database, &sent, &["user", "set-password", ADA]);
    assert!(code == 2 && error.contains("frontdesk user reset ada@example.com"), "{error}");
    assert_eq!(
        database.db_count(
            "SELECT count(*) FROM users WHERE password_hash IS NULL AND password_changed_at IS NULL"
        ),
        1
    );
    let server = Server::start(&database, &[]);
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 422);
    let choose = |browser: &mut Browser, kind: &str, count, password| {
        let link = format!("/reset-password/{}", db_mail(&database, kind, count).text("token"));
        browser.post(&link, &[("new_password", password)]).status
    };
    assert_eq!(choose(&mut server.browser(), "account_created", 1, PASSWORD), 303);
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 303);
    let verified = "SELECT count(*) FROM users WHERE email_verified_at IS NOT NULL";
    assert_eq!(database.db_count(verified), 1, "the link went to the email");

    let (code, out, error) = frontdesk(&database, &sent, &["user", "reset", ADA]);
    assert!(code == 0 && out.contains("gets a link"), "{out}{error}");
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 303, "it works until then");
    assert_eq!(choose(&mut server.browser(), "reset_password", 1, OTHER_PASSWORD), 303);
    assert_eq!(server.browser().login(ADA, OTHER_PASSWORD).status, 303);
    let events = "SELECT count(*) FROM audit_events WHERE event = 'password_reset_requested' AND actor = 'operator'";
    assert_eq!(database.db_count(events), 1);
    let by_link = "SELECT count(*) FROM audit_events WHERE event = 'password_reset'";
    assert_eq!(database.db_count(by_link), 2);
    assert_eq!(
        database.db_count("SELECT count(*) FROM audit_events WHERE event = 'password_changed'"),
        0
    );
}

#[test]
fn a_link_is_not_promised_where_no_mail_is_sent_or_the_account_is_disabled() {
    let database = Database::new();
    let elsewhere = [("FRONTDESK_PUBLIC_URL", "https://desk.example.com")];
    assert_eq!(run(&database, &["user", "create", ADA, "--name", "Ada"], PASSWORD).code, 0);
    for command in [&["user", "reset", ADA][..], &["user", "invite", "eve@example.com"]] {
        let (code, _, error) = frontdesk(&database, &elsewhere, command);
        assert!(code == 1 && error.contains("FRONTDESK_SMTP_URL"), "{command:?}: {error}");
    }
    assert_eq!(run(&database, &["user", "disable", ADA], "").code, 0);
    let reset = run(&database, &["user", "reset", ADA], "");
    assert!(reset.code == 1 && reset.error.contains("frontdesk user enable"), "{}", reset.error);
    assert_eq!(run(&database, &["user", "reset", "eve@example.com"], "").code, 3);
    assert_eq!(database.db_count("SELECT count(*) FROM mail_outbox"), 0);
}
