//! What surrounds a page: compression, the link "Try again" of the error page, TLS to PostgreSQL.

use std::process::Command;

use serde_json::Value;

use crate::support::proxy::Proxy;
use crate::support::server::KEY;
use crate::support::{Browser, Database, Response, Server, registered, site};

fn get_compressed(browser: &mut Browser, path: &str, accepted: &str) -> Response {
    browser.send("GET", path, &[("Accept-Encoding", accepted)], "")
}

#[test]
fn pages_that_repeat_nothing_of_their_request_are_compressed_as_the_client_accepts() {
    let (server, _database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut stranger = server.browser();
    for (accepted, coding) in [
        ("gzip, deflate, br, zstd", Some("gzip")),
        ("br", Some("br")),
        ("gzip;q=0.5, br", Some("br")),
        ("gzip", Some("gzip")),
        ("br;q=0.0, gzip;q=0.5", Some("gzip")),
        ("br;q=0.0", None),
        ("identity", None),
        ("*;q=0", None),
        ("", None),
    ] {
        for (path, browser) in [("/login", &mut stranger), ("/account", &mut ada)] {
            let plain = browser.get(path);
            assert_eq!(plain.header("content-encoding"), None);
            let page = get_compressed(browser, path, accepted);
            assert_eq!((page.status, page.header("content-encoding")), (200, coding), "{accepted}");
            let vary: Vec<&str> = page
                .headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("vary"))
                .map(|(_, value)| value.as_str())
                .collect();
            assert_eq!(vary, ["Cookie", "Accept-Encoding"], "{path}");
            if coding.is_some() {
                let length: usize = page.header("content-length").unwrap().parse().unwrap();
                // The sealed fields are random.
                assert!(length < plain.body.len() * 2 / 3, "{path}: {length}");
            }
        }
    }
}

#[test]
fn pages_that_may_repeat_something_of_their_request_are_not_compressed() {
    let (server, _database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut stranger = server.browser();
    for path in ["/login?next=/account", "/forgot-password?sent", "/nowhere", "/logout", "/login?"]
    {
        let page = get_compressed(&mut stranger, path, "gzip, br");
        assert_eq!(page.header("content-encoding"), None, "{path}");
    }
    for path in ["/account/confirm?next=/account/profile", "/account/activity?before=x"] {
        let page = get_compressed(&mut ada, path, "gzip, br");
        assert_eq!(page.header("content-encoding"), None, "{path}");
    }
    let headers =
        [("Content-Type", "application/x-www-form-urlencoded"), ("Accept-Encoding", "gzip, br")];
    let refused = stranger.send("POST", "/login", &headers, "email=chosen%20text");
    assert_eq!((refused.status, refused.header("content-encoding")), (422, None));
}

/// The address that the link "Try again" leads to.
fn retry_address(page: &Response) -> String {
    let link = page.body.split("Try again</a>").next().unwrap().rsplit("href=\"").next().unwrap();
    let address = link.split('"').next().unwrap();
    address.replace("&#x2F;", "/").replace("&#61;", "=").replace("&amp;", "&")
}

#[test]
fn try_again_leads_to_the_same_page_with_its_query_and_never_to_another_site() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_SESSION_CACHE", "off")]);
    let mut ada = registered(&server, "ada@example.com");
    database.db_execute("ALTER TABLE sessions RENAME TO sessions_elsewhere");
    for (path, address) in [
        (
            "/account/activity?before=5&x=//evil.example",
            "/account/activity?before=5&x=//evil.example",
        ),
        ("/login?next=%2Faccount", "/login?next=%2Faccount"),
        ("/account/sessions", "/account/sessions"),
        ("//evil.example/login", "/"),
        ("//evil.example/login?next=/account", "/"),
        ("///evil.example", "/"),
        ("/.//evil.example", "/"),
        ("/account/..//evil.example", "/"),
        ("/%2e%2e//evil.example", "/"),
        ("/%2F/evil.example", "/"),
        ("/%5Cevil.example", "/"),
        ("http://evil.example/login?x=1", "/login?x=1"),
    ] {
        let page = ada.get(path);
        assert_eq!(page.status, 503, "{path}: {}", page.body);
        assert_eq!(retry_address(&page), address, "{path}");
        assert_eq!(page.header("refresh"), Some("5"), "reloads the same address");
        assert_eq!(page.header("location"), None);
    }
    database.db_execute("ALTER TABLE sessions_elsewhere RENAME TO sessions");
    // The way back from sign-in.
    let answer = server.browser().get("/account/activity?before=5&x=y");
    assert_eq!(answer.location(), "/login?next=%2Faccount%2Factivity%3Fbefore%3D5%26x%3Dy");
}

/// The findings of `frontdesk doctor` about `what`, as verdict and text.
fn doctor(what: &str, settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(["doctor", "--json"])
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .env("FRONTDESK_SECRET_KEYS", KEY)
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    let found = findings.filter(|finding| finding["what"] == what);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    found.map(|finding| (text(&finding["verdict"]), text(&finding["said"]))).collect()
}

#[test]
fn unverified_tls_to_postgresql_over_a_network_is_a_warning_at_start_and_a_problem() {
    let database = Database::new();
    let proxy = Proxy::start(database.socket());
    let (_, name) = database.server_url.split('?').next().unwrap().rsplit_once('/').unwrap();
    // 0.0.0.0 leads to this machine, and is no loopback address.
    let url = |host: &str| format!("postgres://desk@{host}:{}/{name}?sslmode=disable", proxy.port);
    let (network, local) = (url("0.0.0.0"), url("127.0.0.1"));
    let said = "without sslmode=verify-full";
    for (settings, warned) in [
        (vec![("DATABASE_URL", &network)], vec!["DATABASE_URL: "]),
        (vec![("DATABASE_URL", &local)], vec![]),
        (
            vec![("DATABASE_URL", &local), ("FRONTDESK_LISTEN_URL", &network)],
            vec!["FRONTDESK_LISTEN_URL: "],
        ),
        (
            vec![("DATABASE_URL", &network), ("FRONTDESK_LISTEN_URL", &network)],
            vec!["DATABASE_URL: ", "FRONTDESK_LISTEN_URL: "],
        ),
    ] {
        let mut settings: Vec<(&str, &str)> =
            settings.into_iter().map(|(name, value)| (name, value.as_str())).collect();
        let problems: Vec<String> = doctor("tls", &settings)
            .into_iter()
            .filter(|(verdict, _)| verdict == "problem")
            .map(|(_, text)| text)
            .collect();
        assert_eq!(problems.len(), warned.len(), "{problems:?}");
        for (problem, setting) in problems.iter().zip(&warned) {
            assert!(problem.starts_with(setting) && problem.contains(said), "{problem}");
            assert!(problem.contains("FRONTDESK_DATABASE_TLS=off"), "{problem}");
        }
        settings.push(("FRONTDESK_SECRET_KEYS", KEY));
        let log = Server::start_with(&settings).unwrap().stop();
        let warnings = log.lines().filter(|line| line.contains(said)).count();
        assert_eq!(warnings, warned.len(), "{log}");
        settings.push(("FRONTDESK_DATABASE_TLS", "off"));
        assert!(doctor("tls", &settings).iter().all(|(verdict, _)| verdict == "ok"));
        let log = Server::start_with(&settings).unwrap().stop();
        assert!(!log.contains(said), "{log}");
    }
    // Reported although nothing answers.
    let away =
        [("DATABASE_URL", "postgres://desk@192.0.2.1:1/desk?sslmode=require&connect_timeout=1")];
    assert!(doctor("tls", &away).iter().any(|(verdict, _)| verdict == "problem"));
}
