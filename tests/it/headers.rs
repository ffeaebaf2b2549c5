//! Headers of assets, cookies of former keys, HSTS, and refused origins. `crawl.rs` checks the headers of
//! every response.

use crate::crawl::assert_fixed_headers;
use crate::support::server::KEY;
use crate::support::{Database, Server, registered, site};

#[test]
fn assets_are_fingerprinted_compressed_and_immutable() {
    let (server, database) = site();
    let mut browser = server.browser();
    let page = browser.get("/").body;
    let url = page.split('"').find(|part| part.ends_with("/frontdesk.css")).unwrap().to_owned();
    let plain = browser.get(&url);
    assert_eq!(plain.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_fixed_headers(&plain, false, "asset");
    let mut total = page.len();
    for coding in ["br", "gzip"] {
        let compressed = browser.send("GET", &url, &[("Accept-Encoding", coding)], "");
        assert_eq!(compressed.header("content-encoding"), Some(coding));
        let length: usize = compressed.header("content-length").unwrap().parse().unwrap();
        assert!(length < plain.body.len() / 2);
        total += if coding == "br" { length } else { 0 };
    }
    println!("first visit: {total} bytes for page and style sheet");
    assert!(total < 30_000, "{total}");
    let refused = browser.send("GET", &url, &[("Accept-Encoding", "br;q=0, identity")], "");
    assert_eq!(refused.header("content-encoding"), None);
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
}

#[test]
fn a_cookie_of_a_previous_key_is_accepted_and_resealed() {
    let database = Database::new();
    let first = Server::start(&database, &[]);
    let browser = registered(&first, "ada@example.com");
    let second_key = "Zp4Jq8Wm1Xc6Vb3Nn7Kt2Lr9Hs5Gf0DyAeUiOoPlQaSwEdRf";
    let keys = format!("{second_key},{KEY}");
    let second = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", &keys)]);
    let mut moved = browser.on_server(&second.addr);
    let response = moved.get("/account");
    assert_eq!(response.status, 200);
    assert_ne!(moved.session(), browser.session(), "resealed");
    let third_key = "Mn3Bv7Cx1Zl5Kj9Hg2Fd6Sa4Po8Iu0YtReWqAzSxDcFvGbHn";
    let keys = format!("{third_key},{second_key}");
    let third = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", &keys)]);
    assert!(moved.on_server(&third.addr).is_signed_in());
    assert!(!browser.on_server(&third.addr).is_signed_in(), "the first key is no longer accepted");
}

#[test]
fn the_scope_of_hsts_is_a_setting() {
    let database = Database::new();
    for (scope, expected) in [("host", Some("max-age=63072000")), ("off", None)] {
        let https = ("FRONTDESK_PUBLIC_URL", "https://desk.example.com");
        let server = Server::start(&database, &[https, ("FRONTDESK_HSTS", scope)]);
        for path in ["/login", "/nowhere", "/healthz"] {
            let response = server.browser().get(path);
            assert_eq!(response.header("strict-transport-security"), expected, "{scope} {path}");
        }
    }
}

#[test]
fn a_refused_origin_is_logged_with_the_expected_one() {
    let (server, _database) = site();
    let origin = format!("https://evil.example\u{1b}[2J{}", "x".repeat(500));
    let headers = [("Origin", origin.as_str())];
    let response = server.browser().send("POST", "/login", &headers, "");
    // A control character is refused by the HTTP parser already.
    assert_eq!(response.status, 400);
    let origin = format!("https://evil.example\"\u{e9}{}", "x".repeat(500));
    let headers = [("Origin", origin.as_str())];
    assert_eq!(server.browser().send("POST", "/login", &headers, "").status, 403);
    let log = server.stop();
    let line = log.lines().find(|line| line.contains("refused a cross-site request")).unwrap();
    assert!(line.contains("https://evil.example\\\""), "{line}");
    assert!(line.contains("expected=\"http://127.0.0.1:8080\""), "{line}");
    assert!(!line.contains(&"x".repeat(100)), "{line}");
}

#[test]
fn a_refused_origin_is_quoted_once_in_a_json_log() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_LOG", "json")]);
    let headers = [("Origin", "http://evil.example\"quoted")];
    assert_eq!(server.browser().send("POST", "/login", &headers, "").status, 403);
    let log = server.stop();
    let line = log.lines().find(|line| line.contains("refused a cross-site request")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["fields"]["origin"], "http://evil.example\"quoted");
    assert_eq!(line["fields"]["sec_fetch_site"], "");
}

#[test]
fn doctor_says_which_hosts_hsts_affects() {
    let database = Database::new();
    for (host, scope, verdict, text) in [
        ("desk.example.com", "subdomains", "ok", "every host below it (*.desk.example.com)"),
        ("example.com", "subdomains", "warning", "FRONTDESK_HSTS=host"),
        ("example.com", "host", "ok", "not for hosts below it"),
        ("example.com", "off", "warning", "is not sent"),
    ] {
        let url = format!("https://{host}");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_frontdesk"))
            .args(["doctor", "--json"])
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .env_clear()
            .envs([
                ("DATABASE_URL", database.url.as_str()),
                ("FRONTDESK_SECRET_KEYS", KEY),
                ("FRONTDESK_PUBLIC_URL", &url),
                ("FRONTDESK_HSTS", scope),
            ])
            .output()
            .unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["what"] == "hsts").unwrap();
        assert_eq!(found["verdict"], verdict, "{found}");
        assert!(found["said"].as_str().unwrap().contains(text), "{found}");
    }
}
