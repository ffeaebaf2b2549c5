//! The Content-Security-Policy of a site's own pages. `tests/site` adds sources to it.

use crate::support::server::Setting;
use crate::support::website::{run, start};
use crate::support::{Database, registered};

const SITE: &str = "site-under-test";
const GREETING: Setting<'static> = ("SHOP_GREETING", "Hello");

#[test]
fn the_sources_of_a_site_are_in_the_policy_of_its_own_pages_only() {
    let database = Database::empty();
    let server = start(SITE, &database, &[GREETING]);
    let mut ada = registered(&server, "ada@example.com");
    let mut policy = |path: &str| {
        let answer = ada.get(path);
        answer.header("content-security-policy").expect("every answer has one").to_owned()
    };
    for path in ["/page", "/feed", "/", "/raw"] {
        let found = policy(path);
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "connect-src 'self'",
            "img-src 'self' https://images.example",
            "style-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ] {
            assert_eq!(found.split("; ").filter(|one| *one == part).count(), 1, "{path}: {found}");
        }
        assert!(!found.contains("unsafe") && !found.contains('*'), "{path}: {found}");
    }
    // Frontdesk's pages, those with a script of ours included, and the error pages of the site's routes.
    for path in ["/login", "/account", "/account/password", "/account/sessions", "/fail/not-found"]
    {
        let found = policy(path);
        assert!(
            !found.contains("images.example") && !found.contains("connect-src 'self' "),
            "{path}: {found}"
        );
    }
    // A worker has the policy of its script.
    let found = policy("/static/s-0/worker.js");
    assert!(found.contains("connect-src 'self'") && found.contains("images.example"), "{found}");
    assert!(!policy("/static/f-0/show-password.js").contains("connect-src"));
    // A page of ours in place of a page of the site.
    database
        .db_execute("UPDATE frontdesk.sessions SET authenticated_at = now() - interval '1 hour'");
    let form = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    let answer = ada.send("POST", "/recent", &form, "count=1");
    assert!(answer.status == 403 && answer.body.contains("type=\"password\""), "{}", answer.body);
    let found = answer.header("content-security-policy").unwrap();
    assert!(!found.contains("images.example") && !found.contains("connect-src"), "{found}");
    let (code, text) = run(SITE, &database, &["routes"], &[GREETING, ("SITE_BROKEN", "1")]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("main.rs:") && text.contains("“*” cannot be a source of img-src"),
        "{text}"
    );
}
