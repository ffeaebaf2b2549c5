//! Malicious and malformed input gets a clear error, changes nothing and never causes a 500.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{PASSWORD, raw, registered, site};

#[test]
fn malformed_cookies_are_treated_as_signed_out() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    let sealed = browser.session().unwrap().to_owned();
    let flipped = format!("{}{}", if sealed.starts_with('A') { 'B' } else { 'A' }, &sealed[1..]);
    let long = "x".repeat(9000);
    for cookie in [
        format!("session={flipped}"),
        format!("session={sealed}; session={sealed}"),
        format!("session={sealed}; %73ession={sealed}"),
        format!("%73ession={sealed}"),
        format!("\u{2000}session={sealed}"),
        format!("session\u{a0}={sealed}"),
        format!("SESSION={sealed}"),
        format!("session={long}"),
        "session=".to_owned(),
        "session".to_owned(),
        "session=%00%ff%zz".to_owned(),
        "session=../../etc/passwd".to_owned(),
        "session=' OR 1=1 --".to_owned(),
        "session=\"\"; ;;; ==".to_owned(),
        format!("session={}", &sealed[..sealed.len() - 4]),
        // The same value in another form: quoted, padded, or with other letters percent-encoded.
        format!("session=\"{sealed}\""),
        format!("session=\"{sealed}"),
        format!("session={sealed}\""),
        format!("session= {sealed}"),
        format!("session={sealed} ; x=y"),
        format!("session=%22{sealed}%22"),
        format!("session=%{:02X}{}", sealed.as_bytes()[0], &sealed[1..]),
        format!("session={sealed}%20"),
        format!("session={sealed}="),
    ] {
        let request = format!(
            "GET /account HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n"
        );
        let response = raw(&server.addr, request.as_bytes()).unwrap();
        assert_eq!(response.status, 303, "{cookie}");
        assert!(response.cookies().is_empty(), "{cookie}");
    }
    let twice = format!(
        "GET /account HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: session={sealed}\r\nCookie: session={sealed}\r\n\r\n"
    );
    assert_eq!(raw(&server.addr, twice.as_bytes()).unwrap().status, 303);
    assert!(browser.is_signed_in(), "the unmodified cookie still works");
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 1);
    // A session token in a query or another header is ignored.
    let copy = browser.clone();
    let mut signed_out = server.browser();
    let response = signed_out.send(
        "GET",
        &format!("/account?session={sealed}"),
        &[("X-Session", &sealed)],
        "",
    );
    assert_eq!(response.status, 303);
    drop(copy);
}

#[test]
fn missing_repeated_and_invalid_fields_get_an_error_that_names_them() {
    let (server, database) = site();
    for (body, error) in [
        ("email=a%40b.example&display_name=A", "Your password is missing."),
        ("display_name=A&password=quiet+corner+lamp", "Your email address is missing."),
        (
            "email=a%40b.example&email=c%40d.example&display_name=A&password=quiet+corner+lamp",
            "Your email address was sent more than once.",
        ),
        (
            "email=a%40b.example&display_name=A%00B&password=quiet+corner+lamp",
            "Your name contains a character we can&#39;t store.",
        ),
        (
            "email=a%40b.example&display_name=A&password=quiet%00corner+lamp",
            "Your password contains a character we can&#39;t store.",
        ),
        (
            "email=a%40b.example&display_name=%ff%fe&password=quiet+corner+lamp",
            "Your name contains a character we can&#39;t store.",
        ),
        ("", "Your email address is missing."),
        ("%", "Your email address is missing."),
    ] {
        let response = server.browser().send(
            "POST",
            "/register",
            &[("Content-Type", "application/x-www-form-urlencoded")],
            body,
        );
        assert_eq!(response.status, 422, "{body}");
        assert!(response.body.contains(error), "{body}: {}", response.body);
    }
    let long = "p".repeat(1025);
    let fields = [("email", "a@b.example"), ("display_name", "A"), ("password", long.as_str())];
    let response = server.browser().post("/register", &fields);
    assert_eq!(response.status, 422);
    assert!(response.body.contains("That password is too long."));
    assert_eq!(server.browser().login("a@b.example", &long).status, 422);
    assert_eq!(database.db_count("SELECT count(*) FROM users"), 0);
}

#[test]
fn bodies_of_another_type_or_too_large_are_rejected() {
    let (server, _database) = site();
    for content_type in ["application/json", "text/plain", "multipart/form-data; boundary=x"] {
        let response =
            server.browser().send("POST", "/login", &[("Content-Type", content_type)], "{}");
        assert_eq!(response.status, 415, "{content_type}");
    }
    let large = "a".repeat(64 * 1024 + 1);
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(server.browser().send("POST", "/login", &[form], &large).status, 413);
    // A chunked body has no Content-Length that could be checked first.
    let head = "POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = format!("{head}{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    assert_eq!(raw(&server.addr, chunked.as_bytes()).unwrap().status, 413);
}

#[test]
fn unknown_paths_get_404_and_wrong_methods_405_with_a_page() {
    let (server, _database) = site();
    let mut browser = server.browser();
    for (method, path, status) in [
        ("GET", "/nowhere", 404),
        ("GET", "/account/../nowhere", 404),
        ("GET", "/static/nothing.css", 404),
        ("GET", "/logout", 405),
        ("PUT", "/login", 405),
        ("DELETE", "/", 405),
        ("TRACE", "/", 405),
        ("GET", "/account/sessions/revoke-others", 405),
        ("POST", "/healthz", 405),
    ] {
        let response = browser.send(method, path, &[], "");
        assert_eq!(response.status, status, "{method} {path}");
        let request = response.header("x-request-id").unwrap().to_owned();
        assert!(response.body.contains(&request), "{method} {path}: {}", response.body);
        assert!(response.body.contains("Include this ID if you contact us"));
        assert_eq!(response.header("allow").is_some(), status == 405, "{method} {path}");
    }
    let head = browser.send("HEAD", "/login", &[], "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn malformed_http_requests_get_400() {
    let (server, _database) = site();
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        "POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\u{0}\u{1}\u{2}\r\n\r\n",
    ] {
        let response = raw(&server.addr, request.as_bytes());
        assert!(
            response.as_ref().is_ok_and(|response| response.status == 400),
            "{request:?}: {response:?}"
        );
    }
}

#[test]
fn an_incomplete_body_gets_408_and_the_connection_is_closed() {
    let (server, _database) = site();
    let mut stream = TcpStream::connect(&server.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nemail=";
    stream.write_all(head.as_bytes()).unwrap();
    let began = Instant::now();
    let mut response = Vec::new();
    // Ends only when the server closes.
    stream.read_to_end(&mut response).unwrap();
    assert!(began.elapsed() < Duration::from_secs(15));
    assert!(String::from_utf8_lossy(&response).starts_with("HTTP/1.1 408"));
}

#[test]
fn forms_of_the_own_site_and_of_clients_that_are_no_browsers_are_accepted() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    for headers in [
        &[("Sec-Fetch-Site", "same-origin")][..],
        &[("Sec-Fetch-Site", "none")],
        &[("Origin", "http://127.0.0.1:8080")],
        &[],
    ] {
        let mut all = headers.to_vec();
        all.push(("Content-Type", "application/x-www-form-urlencoded"));
        let response = browser.send("POST", "/account/profile", &all, "display_name=Ada");
        assert_eq!(response.status, 303, "{headers:?}");
        assert_eq!(database.db_texts("SELECT display_name FROM users"), ["Ada"]);
        database.db_execute("UPDATE users SET display_name = 'ADA'");
    }
}

#[test]
fn the_log_contains_no_secrets_and_no_form_input() {
    let (server, _database) = site();
    let mut browser = registered(&server, "canary@example.com");
    let sealed = browser.session().unwrap().to_owned();
    browser.login("canary@example.com", "wrong-canary-password");
    browser.get("/account?canary=query");
    browser.send("GET", "/account", &[("Cookie", "session=canary-cookie")], "");
    browser.send("POST", "/login", &[("Content-Type", "text/canary")], "canary-body");
    browser.post("/account/profile", &[("display_name", "Canary")]);
    let log = server.log();
    assert!(log.contains("answered"), "{log}");
    for secret in ["canary", "Canary", PASSWORD, &sealed[..16]] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
