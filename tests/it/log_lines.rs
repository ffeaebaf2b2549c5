//! What log lines contain, and what clients can cause in the log.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::support::server::KEY;
use crate::support::{Database, Server, registered};

/// A proxy that is trusted, and the IP address that it forwards.
const PROXY: (&str, &str) = ("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1");
const CLIENT: &str = "203.0.113.7";
/// Another key than the server's.
const OTHER_KEY: &str = "Zp4Jq8Wm1Xc6Vb3Nn7Kt2Lr9Hs5Gf0DyAeUiOoPlQaSwEdRf";

/// A request that is refused with a warning, through a proxy. Returns its id.
fn refused(server: &Server) -> String {
    let headers = [("Sec-Fetch-Site", "cross-site"), ("X-Forwarded-For", CLIENT)];
    let response = server.browser().send("POST", "/logout", &headers, "");
    assert_eq!(response.status, 403);
    response.header("x-request-id").unwrap().to_owned()
}

/// The lines of `log` that contain `part`.
fn lines<'a>(log: &'a str, part: &'a str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(part)).collect()
}

#[test]
fn every_line_of_a_request_has_its_id_and_other_lines_have_none() {
    for format in ["text", "json"] {
        let database = Database::new();
        let server = Server::start(&database, &[PROXY, ("FRONTDESK_LOG", format)]).until_live();
        let id = refused(&server);
        let log = server.stop();
        let found = lines(&log, &id);
        assert_eq!(found.len(), 2, "the warning and the line of the request:\n{log}");
        assert!(found[0].contains("WARN") && found[1].contains("answered"), "{found:?}");
        assert!(!log.contains(CLIENT), "client IP addresses are off by default:\n{log}");
        let without = lines(&log, "sessions are served from the cache");
        assert!(!without.is_empty() && !without[0].contains("request"), "{without:?}");
        if format == "json" {
            for line in found {
                let line: Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["span"], serde_json::json!({ "id": id, "name": "request" }));
                assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
                assert!(line["target"].as_str().unwrap().starts_with("frontdesk::web"), "{line}");
                assert!(line.get("spans").is_none(), "{line}");
            }
            let line: Value = serde_json::from_str(without[0]).unwrap();
            assert!(line.get("span").is_none(), "{line}");
        } else {
            let start = format!("  INFO request{{id={id}}}: frontdesk::web::outer: answered ");
            assert!(found[1].contains(&start), "{}", found[1]);
            let fields = "method=POST route=\"-\" status=403 milliseconds=\"";
            assert!(found[1].contains(fields), "{}", found[1]);
        }
    }
}

#[test]
fn log_lines_of_a_request_contain_the_client_ip_address_if_it_is_turned_on() {
    for format in ["text", "json"] {
        let database = Database::new();
        let client_ip = ("FRONTDESK_LOG_CLIENT_IP", "on");
        let server = Server::start(&database, &[PROXY, client_ip, ("FRONTDESK_LOG", format)]);
        let id = refused(&server);
        let direct = server.browser().get("/login");
        let log = server.stop();
        let found = lines(&log, &id);
        assert_eq!(found.len(), 2, "{log}");
        for line in found {
            if format == "json" {
                let line: Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["span"]["client_ip"], CLIENT, "{line}");
            } else {
                assert!(line.contains(&format!("client_ip={CLIENT}")), "{line}");
            }
        }
        let direct = lines(&log, direct.header("x-request-id").unwrap());
        assert!(direct[0].contains("127.0.0.1"), "{direct:?}");
    }
}

#[test]
fn a_client_that_no_proxy_vouches_for_cannot_choose_the_ip_address_in_the_log() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_LOG_CLIENT_IP", "on")]);
    refused(&server);
    let log = server.stop();
    assert!(log.contains("client_ip=127.0.0.1") && !log.contains(CLIENT), "{log}");
}

#[test]
fn refused_requests_are_logged_ten_times_a_minute_at_most() {
    let database = Database::new();
    let server = Server::start(&database, &[]);
    for _ in 0..50 {
        refused(&server);
    }
    let log = server.stop();
    // If the test takes longer than a minute, a second minute begins.
    let warnings = lines(&log, " WARN ").len();
    assert!((10..=20).contains(&warnings), "{log}");
    assert!(lines(&log, "status=403").len() == 50, "{log}");
}

/// The id of a request that has just been answered.
fn request_id(server: &Server) -> String {
    server.browser().get("/healthz").header("x-request-id").unwrap().to_owned()
}

/// Sends `bytes` and reads the response until the server closes the connection.
fn send_raw(server: &Server, bytes: &[u8]) {
    let mut stream = TcpStream::connect(&server.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // The server may close the connection before it has read everything.
    stream.write_all(bytes).ok();
    stream.shutdown(Shutdown::Write).ok();
    stream.read_to_end(&mut Vec::new()).ok();
}

#[test]
fn nothing_that_a_stranger_sends_is_logged_above_debug_except_the_line_of_the_request() {
    let database = Database::new();
    let other = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", OTHER_KEY)]);
    let other_key = registered(&other, "bob@example.com").session().unwrap().to_owned();
    // A server that is killed delays sign-outs, with a warning.
    other.stop();
    for filter in ["", "info", "debug"] {
        let keys = format!("{KEY},{KEY}x");
        let settings = [("RUST_LOG", filter), ("FRONTDESK_SECRET_KEYS", keys.as_str())];
        let server = Server::start(&database, if filter.is_empty() { &[] } else { &settings });
        let mut signed_out = registered(&server, &format!("ada{filter}@example.com"));
        let ended = signed_out.session().unwrap().to_owned();
        signed_out.post("/logout", &[]);
        let first = request_id(&server);

        let long = "a".repeat(600);
        for cookie in [
            "session=junk".to_owned(),
            "session=".to_owned(),
            "session=a; session=b".to_owned(),
            "%73ession=a".to_owned(),
            "SESSION=a".to_owned(),
            format!("session={long}"),
            format!("session={other_key}"),
            format!("session={ended}"),
            format!("session={}", &ended[1..]),
            "session=\"junk\"; notice=junk; device=junk; registration=junk".to_owned(),
        ] {
            for path in ["/login", "/account", "/nowhere"] {
                server.browser().send("GET", path, &[("Cookie", &cookie)], "");
            }
            server.browser().send("POST", "/logout", &[("Cookie", &cookie)], "");
        }
        for bytes in [
            &b"nonsense\r\n\r\n"[..],
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            b"POST /login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(300_000)).as_bytes(),
        ] {
            send_raw(&server, bytes);
        }
        let last = request_id(&server);
        let log = server.stop();
        let (_, log) = log.split_once(&first).unwrap();
        let (log, _) = log.split_once(&last).unwrap();
        // Between the rest of the first line and the start of the last one.
        let lines: Vec<&str> = log.lines().skip(1).collect();
        let lines = &lines[..lines.len() - 1];
        let loud = |line: &&&str| {
            [" INFO ", " WARN ", "ERROR "].iter().any(|level| line.contains(level))
                && !line.contains(": answered ")
                && !line.contains("sessions are served from the cache")
        };
        let loud: Vec<_> = lines.iter().filter(loud).collect();
        assert!(loud.is_empty(), "RUST_LOG={filter}: {loud:#?}");
        assert!(lines.len() > 40, "{log}");
    }
}
