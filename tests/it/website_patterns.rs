//! Patterns of a site's routes: what they take, and the mistakes that are found before the start. With
//! `tests/site/src/patterns.rs`.

use crate::support::server::Setting;
use crate::support::website::{run, start};
use crate::support::{Browser, Database};

const SITE: &str = "site-under-test";
const GREETING: Setting<'static> = ("SHOP_GREETING", "Hello");
/// Paths of Frontdesk without a page.
const RESERVED: [&str; 10] = [
    "/admin",
    "/admin/users",
    "/language/de",
    "/dev/nothing",
    "/account/a/b",
    "/.frontdesk/x",
    "/login/x",
    "/%61dmin/users",
    "/admin%2Fusers",
    "/account/a/b/c/d",
];

fn body(browser: &mut Browser, path: &str) -> String {
    browser.get(path).body
}

#[test]
fn a_pattern_without_session_leaves_the_start_page_and_the_routes_with_a_session() {
    let database = Database::empty();
    let server = start(SITE, &database, &[GREETING, ("SITE_PATTERNS", "without-session")]);
    let mut browser = server.browser();
    for (path, expected) in [
        ("/notes/7", "session"),
        ("/%6Eotes/7", "session"),
        ("/notes/a%2Fb", "session"),
        ("/about.html", "session"),
        ("/page", "session"),
        ("/notes", "public"),
        ("/notes/7/x", "public"),
        ("/About.html", "public"),
    ] {
        assert_eq!(body(&mut browser, path), expected, "{path}");
    }
    let home = browser.get("/");
    assert!(home.status != 404 && home.body != "public", "Frontdesk answers: {}", home.body);
    for path in RESERVED {
        let answer = browser.get(path);
        assert!(answer.status == 404 && answer.body.contains("Page not found"), "{path}");
    }
    let server = start(SITE, &database, &[GREETING, ("SITE_PATTERNS", "start-page")]);
    assert_eq!(body(&mut server.browser(), "/"), "start");
    assert_eq!(body(&mut server.browser(), "/other"), "public");
}

#[test]
fn patterns_configured_services_and_the_fallback_get_no_path_of_frontdesk() {
    let database = Database::empty();
    let server = start(SITE, &database, &[GREETING, ("SITE_PATTERNS", "with-session")]);
    let mut browser = server.browser();
    for (path, expected) in [
        ("/a/b", "session"),
        ("/administration/users", "session"),
        ("/a", "configured"),
        ("/a/b/c", "configured"),
        ("/a/b/c/d", "fallback"),
    ] {
        assert_eq!(body(&mut browser, path), expected, "{path}");
    }
    for path in RESERVED {
        let answer = browser.get(path);
        assert!(
            answer.status == 404 && answer.body.contains("Page not found"),
            "{path}: {}",
            answer.body
        );
    }
    assert!(!["session", "configured"].contains(&body(&mut browser, "/dev/templates").as_str()));
    assert!(body(&mut browser, "/login").contains("<form"), "the pages of Frontdesk remain");
}

#[test]
fn a_pattern_that_the_router_cannot_use_ends_every_command_with_its_place() {
    let database = Database::empty();
    let many: String = (0..17).map(|index| format!("/{{v{index}}}")).collect();
    let patterns =
        ["/notes/{note-id}", "/n/{id", "/n/{id:[}", "/n/{id}/{id}", many.as_str(), "/files/*"];
    for pattern in patterns {
        for command in ["routes", "serve"] {
            let settings = [GREETING, ("SITE_PATTERN", pattern)];
            let (code, text) = run(SITE, &database, &[command], &settings);
            assert_eq!(code, Some(2), "{pattern}: {text}");
            let line = format!("GET {pattern} (src/patterns.rs:");
            assert!(text.contains(&line) && !text.contains("panicked"), "{pattern}: {text}");
        }
    }
    let good = [GREETING, ("SITE_PATTERN", "/n/{id:[0-9]{3}}/{rest}*")];
    let (code, text) = run(SITE, &database, &["routes"], &good);
    assert!(code == Some(0) && text.contains("/n/{id:[0-9]{3}}/{rest}*"), "{text}");
}

#[test]
fn a_deadline_of_zero_or_without_end_stops_the_start_with_its_place() {
    let database = Database::empty();
    for (deadline, shown) in [
        ("max", "18446744073709551615.999999999s"),
        ("0", "0ns"),
        ("999999", "999.999µs"),
        ("86400000000001", "86400.000000001s"),
    ] {
        let settings = [GREETING, ("SITE_DEADLINE", deadline)];
        let (code, text) = run(SITE, &database, &["serve"], &settings);
        assert_eq!(code, Some(2), "{deadline}: {text}");
        assert!(text.contains("The deadline of limits (src/patterns.rs:"), "{text}");
        assert!(text.contains(&format!("is {shown}. Choose one between 1ms and 86400s")), "{text}");
    }
    let server = start(SITE, &database, &[GREETING, ("SITE_DEADLINE", "86400000000000")]);
    assert_eq!(body(&mut server.browser(), "/limited"), "session");
}
