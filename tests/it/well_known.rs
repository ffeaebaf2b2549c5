//! The addresses that browsers, search engines and security researchers try on every site.

use std::process::Command;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::support::server::KEY;
use crate::support::{Server, registered, site};

#[test]
fn robots_may_list_public_pages_and_follow_no_link_from_a_mail() {
    let (server, database) = site();
    let robots = server.browser().get("/robots.txt");
    assert_eq!(robots.status, 200);
    assert_eq!(robots.header("content-type"), Some("text/plain; charset=utf-8"));
    let disallowed: Vec<&str> =
        robots.body.lines().filter_map(|line| line.strip_prefix("Disallow: ")).collect();
    let is_disallowed = |path: &str| disallowed.iter().any(|prefix| path.starts_with(prefix));
    for path in ["/", "/login", "/register", "/static/x.css"] {
        assert!(!is_disallowed(path), "{path}");
    }
    for path in [
        "/account/sessions",
        "/reset-password/x",
        "/invitation/x",
        "/verify-email/x",
        "/undo-email-change/x",
    ] {
        assert!(is_disallowed(path), "{path}");
    }
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
}

#[test]
fn password_managers_find_the_page_that_changes_the_password() {
    let (server, _database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let answer = ada.get("/.well-known/change-password");
    assert_eq!((answer.status, answer.location()), (303, "/account/password"));
    assert_eq!(ada.get(answer.location()).status, 200);
    // A password manager tests with this address whether the site answers 200 for everything.
    let absent = "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200";
    assert_eq!(ada.get(absent).status, 404);
    assert_eq!(ada.send("PUT", "/.well-known/change-password", &[], "").status, 405);
}

#[test]
fn security_txt_names_every_contact_and_is_valid_for_a_month() {
    let (without, database) = site();
    assert_eq!(without.browser().get("/.well-known/security.txt").status, 404);
    let contacts = "security@example.com, https://example.com/report ,tel:+1-201-555-0123";
    let settings = [
        ("FRONTDESK_SECURITY_CONTACT", contacts),
        ("FRONTDESK_PUBLIC_URL", "https://desk.example.com"),
    ];
    let server = Server::start(&database, &settings);
    let file = server.browser().get("/.well-known/security.txt");
    assert_eq!(file.status, 200);
    assert_eq!(file.header("content-type"), Some("text/plain; charset=utf-8"));
    let lines: Vec<&str> = file.body.lines().collect();
    let values = |name: &str| -> Vec<&str> {
        let prefix = format!("{name}: ");
        lines.iter().filter_map(|line| line.strip_prefix(prefix.as_str())).collect()
    };
    assert_eq!(
        values("Contact"),
        ["mailto:security@example.com", "https://example.com/report", "tel:+1-201-555-0123"]
    );
    assert_eq!(values("Canonical"), ["https://desk.example.com/.well-known/security.txt"]);
    let expires = OffsetDateTime::parse(values("Expires")[0], &Rfc3339).unwrap();
    let left = expires - OffsetDateTime::now_utc();
    assert!(left > Duration::days(28) && left <= Duration::days(30), "{left}");
    for invalid in ["http://example.com/report", "example.com", "javascript:alert(1)", "a b@c.d"] {
        let output = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
            .arg("serve")
            .env_clear()
            .envs([
                ("DATABASE_URL", database.url.as_str()),
                ("FRONTDESK_SECRET_KEYS", KEY),
                ("FRONTDESK_SECURITY_CONTACT", invalid),
            ])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && errors.contains("FRONTDESK_SECURITY_CONTACT"),
            "{errors}"
        );
    }
}

#[test]
fn the_icon_is_where_browsers_look_for_it() {
    let (server, _database) = site();
    let icon = server.browser().get("/favicon.ico");
    assert_eq!((icon.status, icon.header("content-type")), (200, Some("image/x-icon")));
    assert!(icon.body.starts_with("\0\0\u{1}\0"), "the signature of an icon file");
}
