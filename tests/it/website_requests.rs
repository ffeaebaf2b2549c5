//! What the handlers of a site get of a request, and what becomes of their answers. With `tests/site`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::late_forms::db_session_lookups;
use crate::support::breakpoint::until;
use crate::support::mail::db_clear_rate_limits;
use crate::support::server::{Server, Setting};
use crate::support::website::start;
use crate::support::{Browser, Database, PASSWORD, registered};

const SITE: &str = "site-under-test";
const GREETING: Setting<'static> = ("SHOP_GREETING", "Hello");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("Content-Type", "application/json");
/// As a browser sends it with a form.
const NAVIGATION: [(&str, &str); 2] =
    [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
const KIB: usize = 1024;
const REFUSED: &str = "{\"error\":\"sign_in_required\"}";

fn site() -> (Server, Database) {
    let database = Database::empty();
    (start(SITE, &database, &[GREETING]), database)
}

fn status(browser: &mut Browser, path: &str, kind: (&str, &str), length: usize) -> u16 {
    browser.send("POST", path, &[kind], &"x".repeat(length)).status
}

/// The status of a POST to `path` with a chunked body of `length` bytes, which has no `Content-Length`.
fn chunked(server: &Server, path: &str, kind: &str, length: usize) -> u16 {
    let mut stream = TcpStream::connect(&server.addr).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let body = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "1".repeat(length));
    // The server may answer before it has read everything.
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an answer")
}

#[test]
fn the_router_decides_which_limits_a_request_has() {
    let (server, _database) = site();
    let mut browser = server.browser();
    let text = ("Content-Type", "text/plain");
    for (path, length, expected) in [
        ("/files/large", 100 * KIB, 200),
        ("/files/large", 1025 * KIB, 413),
        // The resource of another pattern, which matches first.
        ("/files/small", 60 * KIB, 200),
        ("/files/small", 100 * KIB, 413),
        ("/files/%73mall", 100 * KIB, 413),
        ("/fi%6ces/large", 100 * KIB, 200),
        ("/bytes", 100 * KIB, 413),
        ("/webhook", 100 * KIB, 413),
        ("/public-length", 60 * KIB, 200),
    ] {
        assert_eq!(status(&mut browser, path, text, length), expected, "{path} {length}");
    }
}

#[test]
fn the_limit_of_a_body_holds_for_every_extractor_and_without_a_content_length() {
    let (server, _database) = site();
    let mut browser = server.browser();
    let multipart = ("Content-Type", "multipart/form-data; boundary=x");
    for (path, kind, length, expected) in [
        ("/files/x", multipart, 100 * KIB, 200),
        ("/files/x/form", multipart, 10, 415),
        ("/small-form", multipart, 10, 415),
        ("/files/x/form", FORM, 100 * KIB, 200),
        ("/small-form", FORM, 100 * KIB, 413),
    ] {
        assert_eq!(status(&mut browser, path, kind, length), expected, "{path} {kind:?} {length}");
    }
    let number = |length: usize| "1".repeat(length);
    let mut json = |path: &str, length: usize| {
        let body = format!("[\"{}\"]", number(length));
        browser.send("POST", path, &[JSON], &body).status
    };
    assert_eq!(json("/files/x/json", 100 * KIB), 200);
    assert_eq!((json("/small-json", 60 * KIB), json("/small-json", 100 * KIB)), (200, 413));
    for (path, kind, length, expected) in [
        ("/files/x", "text/plain", 100 * KIB, 200),
        ("/files/x", "text/plain", 1025 * KIB, 413),
        ("/files/small", "text/plain", 100 * KIB, 413),
        ("/small-json", "application/json", 100 * KIB, 413),
        ("/small-form", FORM.1, 100 * KIB, 413),
        ("/public-length", "text/plain", 100 * KIB, 413),
    ] {
        assert_eq!(chunked(&server, path, kind, length), expected, "{path} {kind} {length}");
    }
}

#[test]
fn a_body_that_was_read_to_its_end_stays_at_its_end() {
    let (server, _database) = site();
    for length in [0, 10, 100 * KIB] {
        let body = "x".repeat(length);
        let again = server.browser().send("POST", "/files/x/again", &[], &body);
        let expected = format!(r#"{{"is_over":true,"length":{length}}}"#);
        assert_eq!((again.status, again.body), (200, expected));
    }
}

#[test]
fn a_body_that_does_not_arrive_in_the_time_of_its_route_is_answered_408() {
    let (server, _database) = site();
    let mut stream = TcpStream::connect(&server.addr).unwrap();
    let head = "POST /impatient HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn scripts_get_errors_as_json_and_content_of_the_handler_is_kept() {
    let (server, _database) = site();
    let mut browser = server.browser();
    let scripts: [&[(&str, &str)]; 3] = [
        &[("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")],
        &[("Accept", "application/json")],
        &[("Accept", "*/*")],
    ];
    for headers in scripts {
        for (method, path, status, error) in [
            ("GET", "/fail/not-found", 404, "not_found"),
            ("GET", "/fail/forbidden", 403, "forbidden"),
            ("GET", "/fail/bad-request", 400, "bad_request"),
            ("GET", "/fail/unavailable", 503, "service_unavailable"),
            ("GET", "/fail/parse", 500, "internal_server_error"),
            ("GET", "/fail/panic", 500, "internal_server_error"),
            ("GET", "/bare-error", 410, "gone"),
            ("GET", "/never", 500, "internal_server_error"),
            ("PUT", "/page", 405, "method_not_allowed"),
            ("POST", "/echo", 400, "bad_request"),
            ("DELETE", "/login", 405, "method_not_allowed"),
        ] {
            let sent = [headers, &[JSON]].concat();
            let answer = browser.send(method, path, &sent, if method == "POST" { "{" } else { "" });
            let expected = (status, format!("{{\"error\":\"{error}\"}}"));
            assert_eq!((answer.status, answer.body.clone()), expected, "{path} {headers:?}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        }
    }
    let page = browser.send("GET", "/fail/not-found", &NAVIGATION, "");
    assert!(page.body.contains("Page not found"), "{}", page.body);
    for headers in scripts.iter().copied().chain([&NAVIGATION[..], &[]]) {
        let kept = |browser: &mut Browser, path: &str| {
            let answer = browser.send("GET", path, headers, "");
            (answer.status, answer.header("content-type").map(str::to_owned), answer.body)
        };
        let (status, kind, body) = kept(&mut browser, "/teapot");
        assert_eq!((status, body.as_str()), (418, "short and stout"));
        assert!(kind.is_some_and(|kind| kind.starts_with("text/plain")));
        let (status, kind, body) = kept(&mut browser, "/problem");
        assert_eq!((status, body.as_str()), (409, "{\"title\":\"taken\"}"));
        assert_eq!(kind.as_deref(), Some("application/problem+json"));
    }
}

#[test]
fn actix_shows_a_handler_the_cookies_of_the_site_and_none_of_frontdesk() {
    let (server, _database) = site();
    let mut ada = registered(&server, "ada@example.com");
    for name in ["notice", "device", "link", "browser", "registration", "__Host-session"] {
        ada.cookies.insert(name.to_owned(), "secret".to_owned());
    }
    ada.cookies.insert("theme".to_owned(), "dark".to_owned());
    for path in ["/actix-cookies", "/public-cookies"] {
        let answer = ada.get(path).body;
        assert_eq!(answer, r#"{"all":["theme"],"session":null,"theme":"dark"}"#, "{path}");
    }
    assert!(ada.get("/whoami").status == 200, "the session is still found");
}

#[test]
fn a_cookie_with_a_name_of_frontdesk_is_refused_where_it_is_set() {
    let (server, _database) = site();
    let mut ada = registered(&server, "ada@example.com");
    for path in ["/set-cookie", "/set-public-cookie"] {
        for name in ["link", "device", "notice", "browser", "session", "registration", "Session"] {
            let answer = ada.get(&format!("{path}/{name}"));
            assert_eq!((answer.status, answer.cookies().len()), (500, 0), "{path}/{name}");
            until(|| server.log().contains(&format!("the site sets the cookie {name},")));
        }
        let answer = ada.get(&format!("{path}/basket"));
        assert_eq!((answer.status, answer.cookies().len()), (200, 1));
    }
    assert!(ada.is_signed_in());
    // The notice of a page is one of Frontdesk's cookies.
    assert_eq!(ada.post("/recent", &[("count", "3")]).status, 303);
    assert!(ada.get("/page").body.contains("ADA counted 3."));
    assert!(!ada.get("/page").body.contains("ADA counted 3."));
}

#[test]
fn a_form_of_a_stranger_leads_back_to_the_page_of_the_form() {
    let (server, _database) = site();
    let own = format!("http://{}", server.addr);
    let mut stranger = server.browser();
    let mut send = |referrer: &str| {
        let headers = [FORM, NAVIGATION[0], NAVIGATION[1], ("Referer", referrer)];
        stranger.send("POST", "/who", &headers, "a=b")
    };
    let answer = send(&format!("{own}/page?tab=2"));
    assert_eq!((answer.status, answer.location()), (303, "/login?next=%2Fpage%3Ftab%3D2"));
    for other in
        ["https://evil.example/page", "", &format!("{own}//evil.example"), &format!("{own}/logout")]
    {
        let answer = send(other);
        assert_eq!((answer.status, answer.location()), (303, "/login"), "{other}");
    }
}

#[test]
fn a_site_keeps_values_with_the_session() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    assert_eq!((ada.get("/visits").body.as_str(), ada.get("/visits").body.as_str()), ("1", "2"));
    let keys = "SELECT key FROM frontdesk.sessions, jsonb_object_keys(state) AS key";
    assert_eq!(database.db_texts(keys), ["website.visits"]);
    assert_eq!(ada.get("/remember/4000").body, "remembered");
    assert_eq!(ada.get("/remember/4090").status, 500);
    until(|| server.log().contains("would have more than 4 KiB"));
    assert_eq!(ada.get("/forget").body, "true");
    assert_eq!(
        (ada.get("/forget").body.as_str(), ada.get("/visits").body.as_str()),
        ("false", "1")
    );
    let stranger = server.browser().send("GET", "/visits", &NAVIGATION, "");
    assert_eq!((stranger.status, stranger.location()), (303, "/login?next=%2Fvisits"));
    let who = ada.get("/who").body;
    assert!(who.contains(r#""assurance_level":"Aal1","language":"en""#), "{who}");
}

#[test]
fn a_script_whose_session_ends_during_its_request_gets_401_and_a_browser_the_sign_in_page() {
    let database = Database::empty();
    database.db_execute("CREATE EXTENSION pg_stat_statements SCHEMA public");
    let server = start(SITE, &database, &[GREETING, ("FRONTDESK_SESSION_CACHE", "off")]);
    registered(&server, "ada@example.com");
    let kind = ("Content-Type", "text/plain");
    // The first handler checks the session itself; that of the second is checked after it.
    for path in ["/change", "/bytes"] {
        for is_script in [true, false] {
            db_clear_rate_limits(&database);
            let mut ada = server.browser();
            assert_eq!(ada.login("ada@example.com", PASSWORD).status, 303);
            let headers = [kind, NAVIGATION[0], NAVIGATION[1]];
            let headers = if is_script { &headers[..1] } else { &headers };
            let before = db_session_lookups(&database);
            let late = ada.send_partial_with(path, headers, "some text");
            until(|| db_session_lookups(&database) > before);
            assert_eq!(ada.post("/logout", &[]).status, 303);
            let answer = late.finish();
            if is_script {
                assert_eq!((answer.status, answer.body.as_str()), (401, REFUSED), "{path}");
            } else {
                assert_eq!((answer.status, answer.location()), (303, "/login"), "{path}");
            }
        }
    }
}
