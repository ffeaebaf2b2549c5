//! Requirements of docs/SECURITY.md that belong to no other file.

use std::process::Command;

use serde_json::Value;

use crate::support::browser::raw;
use crate::support::mail::{db_clear_rate_limits, db_mail};
use crate::support::webdriver::Driver;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Response, Server, registered, site};

#[test]
fn a_disabled_account_is_refused_on_every_way_in() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let verify = format!("/verify-email/{}", db_mail(&database, "verify_email", 1).text("token"));
    database.db_execute("UPDATE users SET email_verified_at = now()");
    ada.post("/account/email", &[("email", "new@example.com")]);
    let code = db_mail(&database, "change_email", 1).text("code").to_owned();
    assert_eq!(ada.post("/account/email/code", &[("change_code", &code)]).status, 303);
    let undo = db_mail(&database, "email_changed", 1).text("undo_token").to_owned();
    let undo = format!("/undo-email-change/{undo}");
    server.browser().post("/forgot-password", &[("email", "new@example.com")]);
    let reset = db_mail(&database, "reset_password", 1).text("token").to_owned();
    let reset = format!("/reset-password/{reset}");
    db_clear_rate_limits(&database);
    database.db_execute("UPDATE users SET disabled_at = now()");
    let ways: [(&str, &[(&str, &str)]); 4] = [
        ("/login", &[("email", "new@example.com"), ("password", PASSWORD)]),
        (&verify, &[("password", PASSWORD)]),
        (&reset, &[("new_password", OTHER_PASSWORD)]),
        (&undo, &[]),
    ];
    for (way, fields) in ways {
        let mut browser = server.browser();
        let answer = browser.post(way, fields);
        assert!([410, 422].contains(&answer.status), "{way}: {answer:?}");
        assert!(!browser.is_signed_in(), "{way}");
    }
    assert!(!ada.is_signed_in(), "nor does the cookie");
    let enabled = "UPDATE users SET disabled_at = NULL";
    database.db_execute(enabled);
    assert_eq!(server.browser().login("new@example.com", PASSWORD).status, 303, "unchanged");
}

/// The values of the attributes in `page` that a browser loads or sends something to.
fn addresses(page: &str) -> Vec<&str> {
    let values = ["src=\"", "href=\"", "action=\"", "srcset=\"", "data=\"", "poster=\""];
    values
        .into_iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

#[test]
fn pages_load_nothing_from_other_sites_and_store_nothing_in_the_browser() {
    let (server, _database) = site();
    let driver = Driver::start();
    let window = driver.scripted_window(&server.addr);
    let mut ada = registered(&server, "ada@example.com");
    let mut checked = 0;
    for path in ["/", "/login", "/register", "/forgot-password", "/nowhere"] {
        let page = ada.get(path).body + &server.browser().get(path).body;
        checked += addresses(&page).len();
        for address in addresses(&page) {
            let is_own =
                address.starts_with('#') || address.starts_with('/') && !address.starts_with("//");
            assert!(is_own, "{path}: {address}");
        }
    }
    assert!(checked > 20, "{checked}");
    window.open("/register");
    window.fill("email", "bob@example.com");
    window.fill("display_name", "Bob");
    window.fill("password", PASSWORD);
    window.click("form[action='/register'] button");
    window.wait_for_path("/account");
    for path in ["/account", "/account/sessions", "/account/password"] {
        window.open(path);
        let stored = window.run(
            "return [localStorage.length, sessionStorage.length, document.cookie,
                     performance.getEntriesByType('resource').map(e => new URL(e.name).host)
                         .filter(host => host != location.host).length]",
        );
        assert_eq!(stored, serde_json::json!([0, 0, "", 0]), "{path}");
        let databases = window.run_async(
            "const done = arguments[arguments.length - 1];
             Promise.all([indexedDB.databases(), caches.keys(), navigator.serviceWorker.getRegistrations()])
                 .then(found => done(found.flat().length), error => done(String(error)))",
        );
        assert_eq!(databases, 0, "{path}");
    }
}

#[test]
fn a_server_opens_no_more_connections_to_postgresql_than_documented() {
    let database = Database::new();
    let settings = [
        ("FRONTDESK_DATABASE_POOL_SIZE", "3"),
        ("FRONTDESK_WORKERS", "4"),
        ("FRONTDESK_SESSION_CACHE_SIZE", "1000"),
    ];
    let server = Server::start(&database, &settings).until_live();
    let ada = registered(&server, "ada@example.com");
    // Each request takes a connection of the pool.
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let mut browser = ada.clone();
            scope.spawn(move || {
                for _ in 0..10 {
                    assert_eq!(browser.get("/account/sessions").status, 200);
                }
            });
        }
    });
    let count = |name: &str| {
        database.db_count(&format!(
            "SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND usename = 'desk' AND application_name = '{name}'"
        ))
    };
    let (pool_and_mail, feed) = (count("frontdesk"), count("frontdesk feed"));
    assert!((3..=5).contains(&pool_and_mail), "{pool_and_mail}: 3 of the pool and 2 for mail");
    assert_eq!(feed, 1, "the LISTEN connection");
}

fn assert_says_no_version(what: &str, response: &Response) {
    let version = env!("CARGO_PKG_VERSION");
    assert!(response.header("server").is_none() && response.header("x-powered-by").is_none());
    let names = ["frontdesk/", "actix", "rust/", "postgresql 1"];
    let texts = response.headers.iter().map(|(_, value)| value.to_lowercase());
    for text in texts.chain([response.body.to_lowercase()]) {
        assert!(!text.contains(&format!("frontdesk {version}")), "{what}: {text}");
        assert!(names.iter().all(|name| !text.contains(name)), "{what}: {text}");
    }
}

#[test]
fn no_answer_tells_the_version_and_trace_and_metrics_are_not_served() {
    let database = Database::new();
    let settings = [("FRONTDESK_PUBLIC_URL", "https://desk.example.com")];
    let server = Server::start(&database, &settings);
    let mut browser = server.browser();
    for path in ["/", "/login", "/healthz", "/readyz", "/nowhere", "/robots.txt", "/account"] {
        assert_says_no_version(path, &browser.get(path));
    }
    for path in
        ["/metrics", "/debug", "/debug/pprof", "/.git/config", "/.env", "/server-status", "/docs"]
    {
        assert_eq!(browser.get(path).status, 404, "{path}");
    }
    for method in ["TRACE", "TRACK", "CONNECT", "PROPFIND", "DELETE", "PATCH"] {
        let request = format!(
            "{method} /login HTTP/1.1\r\nHost: {}\r\nCookie: canary=secret\r\nConnection: close\r\n\r\n",
            server.addr
        );
        let response = raw(&server.addr, request.as_bytes()).unwrap();
        assert!([400, 405].contains(&response.status), "{method}: {}", response.status);
        assert!(!response.body.contains("canary"), "{method} repeats no header");
        assert_says_no_version(method, &response);
    }
}

#[test]
fn the_bill_of_materials_lists_every_dependency_with_license_and_checksum() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("sbom");
    let output =
        Command::new("script/sbom").env("CARGO_TARGET_DIR", &folder).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(folder.join("frontdesk.cdx.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&document["bomFormat"], &document["specVersion"]),
        (&"CycloneDX".into(), &"1.5".into())
    );
    let components = document["components"].as_array().unwrap();
    let names: Vec<&str> =
        components.iter().map(|component| component["name"].as_str().unwrap()).collect();
    for needed in ["actix-web", "sqlx-postgres", "argon2", "rustls", "ring", "tera"] {
        assert!(names.contains(&needed), "{needed}");
    }
    for only_for_tests in ["criterion", "insta", "loom"] {
        assert!(!names.contains(&only_for_tests), "{only_for_tests}");
    }
    for component in components {
        let hash = component["hashes"][0]["content"].as_str().unwrap();
        assert_eq!(hash.len(), 64, "{component}");
        assert!(!component["licenses"][0]["expression"].as_str().unwrap().is_empty());
    }
    assert_eq!(document["dependencies"].as_array().unwrap().len(), components.len() + 1);
}
