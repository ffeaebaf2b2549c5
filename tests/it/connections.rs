//! Connections that do not behave: bodies without end, pipelined requests, slow clients, idle connections.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::breakpoint::until;
use crate::support::port::free_addr;
use crate::support::server::KEY;
use crate::support::{Database, Server, raw, registered, site};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

fn connect(addr: &str) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Reads until the server closes or, with `limit`, until nothing has come for that long.
fn read_all(stream: &mut TcpStream, limit: Option<Duration>) -> String {
    if limit.is_some() {
        stream.set_read_timeout(limit).unwrap();
    }
    let mut text = Vec::new();
    let mut part = [0; 16 * 1024];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && limit.is_none() => {
                panic!("the server does not close: {}", String::from_utf8_lossy(&text))
            }
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn chunked_head(start: &str) -> String {
    let site = if start.ends_with("cross-site") { "cross-site" } else { "same-origin" };
    format!(
        "{start} HTTP/1.1\r\nHost: a\r\n{FORM}Sec-Fetch-Site: {site}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
}

/// Sends a head and then chunks until the server closes. Returns the status, the bytes of the body that were
/// sent, and how long it took.
fn endless_body(addr: &str, head: &str, pause: Duration) -> (String, usize, Duration) {
    let mut stream = connect(addr);
    stream.write_all(chunked_head(head).as_bytes()).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || read_all(&mut reader, None));
    let began = Instant::now();
    let mut sent = 0;
    let chunk = match pause.is_zero() {
        true => format!("4000\r\n{}\r\n", "x".repeat(0x4000)),
        false => "1\r\nx\r\n".to_owned(),
    };
    while began.elapsed() < Duration::from_secs(60) {
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
        sent += chunk.len();
        std::thread::sleep(pause);
    }
    let response = reader.join().unwrap();
    let status = response.split(' ').nth(1).unwrap_or_default().to_owned();
    (status, sent, began.elapsed())
}

/// Sends a head and the beginning of a chunk, then nothing. Returns the status, and when the server closes.
fn silent_body(addr: &str, head: &str) -> (String, Duration) {
    let mut stream = connect(addr);
    stream.write_all(chunked_head(head).as_bytes()).unwrap();
    stream.write_all(b"5\r\nhel").unwrap();
    let began = Instant::now();
    let response = read_all(&mut stream, None);
    (response.split(' ').nth(1).unwrap_or_default().to_owned(), began.elapsed())
}

#[test]
fn a_chunked_body_without_end_is_bounded_whatever_was_answered() {
    let database = Database::new();
    let metrics = free_addr();
    let server = Server::start(&database, &[("FRONTDESK_METRICS_BIND", &metrics)]);
    let cases = [
        (&server.addr, "GET /healthz", &["200"][..]),
        (&server.addr, "GET /readyz", &["200"]),
        (&server.addr, "GET /login", &["200"]),
        (&server.addr, "POST /healthz", &["405"]),
        (&server.addr, "POST /nowhere", &["404"]),
        (&server.addr, "POST /login?cross-site", &["403"]),
        (&server.addr, "GET /static/nothing.css", &["404"]),
        (&server.addr, "GET /account", &["303"]),
        // A form reads its body: 413 if there is too much, 408 if it takes too long.
        (&server.addr, "POST /login", &["413", "408"]),
        (&metrics, "GET /metrics", &["200"]),
        (&metrics, "POST /nowhere", &["404"]),
    ];
    std::thread::scope(|scope| {
        for (addr, head, expected) in cases {
            scope.spawn(move || {
                let (status, took) = silent_body(addr, head);
                assert!(expected.contains(&status.as_str()), "{head}, silent: {status}");
                assert!(took < Duration::from_secs(30), "{head}, silent: {took:?}");
            });
            for pause in [Duration::ZERO, Duration::from_millis(100)] {
                scope.spawn(move || {
                    let (status, sent, took) = endless_body(addr, head, pause);
                    assert!(expected.contains(&status.as_str()), "{head}: {status}");
                    // Most of it is in the buffers of the kernel.
                    assert!(sent < 16 * 1024 * 1024, "{head}: {sent} bytes");
                    assert!(took < Duration::from_secs(30), "{head}: {took:?}");
                });
            }
        }
    });
}

/// The head and the body of the first chunked response, and what follows it.
fn split_chunked(responses: &str) -> (&str, String, &str) {
    let (head, mut rest) = responses.split_once("\r\n\r\n").unwrap();
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").expect("the body is not complete");
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no size: {size}"));
        body += &after[..size];
        rest = &after[size + 2..];
        if size == 0 {
            return (head, body, rest);
        }
    }
}

#[test]
fn a_pipelined_request_does_not_change_a_streamed_response_before_it() {
    let (server, database) = site();
    let ada = registered(&server, "ada@example.com");
    // More than 128 KiB, which is sent in parts.
    database.db_execute(
        "INSERT INTO audit_events (event, user_id, actor, details)
         SELECT 'signed_in', id, 'user', jsonb_build_object('text', repeat('x', 1000))
           FROM users, generate_series(1, 1000)",
    );
    let export = format!(
        "POST /account/export HTTP/1.1\r\nHost: a\r\n{FORM}Cookie: session={}\r\nContent-Length: 0\r\n\r\n",
        ada.session().unwrap()
    );
    let form = "email=ada%40example.com&password=wrong+password";
    let form = format!(
        "POST /login HTTP/1.1\r\nHost: a\r\n{FORM}Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let last = "HEAD /login HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut stream = connect(&server.addr);
    stream.write_all(format!("{export}{form}{last}").as_bytes()).unwrap();
    let responses = read_all(&mut stream, None);
    let (head, body, rest) = split_chunked(&responses);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body.len() > 1_000_000 && body.ends_with('}'), "{} bytes", body.len());
    assert!(rest.starts_with("HTTP/1.1 422"), "{rest}");
    let (first, second) = rest.split_once("</html>").expect("the response to the form has a body");
    assert!(first.contains("<html") && second.trim_start().starts_with("HTTP/1.1 200"), "{second}");
}

#[test]
fn a_pipelined_request_does_not_change_the_response_before_it() {
    let (server, _database) = site();
    let body = "email=ada%40example.com&password=wrong+password";
    let head = format!("POST /login HTTP/1.1\r\nHost: a\r\n{FORM}");
    let with_length = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let chunked =
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for first in [with_length, chunked] {
        // The password hash takes long enough that the HEAD arrives before the response.
        let text = format!("{first}HEAD /login HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut stream = connect(&server.addr);
        stream.write_all(text.as_bytes()).unwrap();
        let responses = read_all(&mut stream, None);
        assert!(responses.starts_with("HTTP/1.1 422"), "{responses}");
        let (first, second) = responses.split_once("</html>").unwrap_or_else(|| {
            panic!("the response to the form has no body: {responses}");
        });
        let (head, body) = first.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let rest = second.split("HTTP/1.1").next().unwrap();
        let actual = body.len() + "</html>".len() + rest.len();
        assert_eq!(length.unwrap().parse::<usize>().unwrap(), actual);
        assert!(second.contains("HTTP/1.1 200") && !second.contains("<html"), "{second}");
    }
}

#[test]
fn pipelined_requests_are_answered_one_after_another() {
    let (server, _database) = site();
    let page = "GET /login HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stream = connect(&server.addr);
    let last = "GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{}{last}", page.repeat(5)).as_bytes()).unwrap();
    let responses = read_all(&mut stream, None);
    let statuses: Vec<&str> = responses.split("HTTP/1.1 ").skip(1).map(|part| &part[..3]).collect();
    assert_eq!(statuses.join(" "), format!("{}404", "200 200 ".repeat(5)));
    // Byte by byte, a request is the same.
    let mut stream = connect(&server.addr);
    stream.set_nodelay(true).unwrap();
    for byte in last.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(read_all(&mut stream, None).starts_with("HTTP/1.1 404"));
}

#[test]
fn a_chunked_form_with_empty_lines_is_read_to_its_end() {
    let (server, _database) = site();
    let field = "email=ada%40example.com&password=x&display_name=";
    let text = format!("{field}{}", "a\r\n\r\nb\n\n".repeat(500));
    let chunks: String = text
        .as_bytes()
        .chunks(97)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
        .collect();
    let request = format!(
        "POST /login HTTP/1.1\r\nHost: a\r\n{FORM}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunks}0\r\n\r\n"
    );
    let response = raw(&server.addr, request.as_bytes()).unwrap();
    assert_eq!(response.status, 422, "{response:?}");
}

#[test]
fn every_head_has_a_deadline_and_an_idle_connection_stays_open_longer() {
    let (server, _database) = site();
    let get = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let short = Duration::from_millis(500);
    let mut slow = connect(&server.addr);
    let mut idle = connect(&server.addr);
    for stream in [&mut slow, &mut idle] {
        stream.write_all(get).unwrap();
        assert!(read_all(stream, Some(short)).starts_with("HTTP/1.1 200"));
    }
    let began = Instant::now();
    slow.write_all(b"GET /healthz HT").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(read_all(&mut slow, None), "");
    assert!(began.elapsed() > Duration::from_secs(4), "{:?}", began.elapsed());
    // nginx keeps connections to a server for 60 seconds and sends forms on them.
    assert_eq!(read_all(&mut idle, Some(Duration::from_secs(2))), "");
    idle.write_all(get).unwrap();
    assert!(read_all(&mut idle, Some(short)).starts_with("HTTP/1.1 200"));
}

#[test]
fn the_keep_alive_is_a_setting() {
    let database = Database::new();
    let get = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for (keep_alive, header) in [("1s", None), ("0s", Some("connection: close"))] {
        let server = Server::start(&database, &[("FRONTDESK_KEEP_ALIVE", keep_alive)]);
        let mut stream = connect(&server.addr);
        stream.write_all(get).unwrap();
        let response = read_all(&mut stream, None);
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        assert!(header.is_none_or(|header| response.contains(header)), "{response}");
    }
}

/// Opens 200 connections to a server with 64 descriptors. The first bytes of each are those that `request`
/// returns for its number. Then another client must get a page.
fn assert_others_get_in(request: fn(usize) -> Option<&'static str>) {
    let database = Database::new();
    let addr = free_addr();
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\"", env!("CARGO_BIN_EXE_frontdesk")])
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .envs([
            ("DATABASE_URL", database.server_url.as_str()),
            ("FRONTDESK_SECRET_KEYS", KEY),
            ("FRONTDESK_BIND", &addr),
            ("FRONTDESK_WORKERS", "2"),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(|| {
        raw(&addr, b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .is_ok_and(|response| response.status == 200)
    });
    let waiting: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut stream = connect(&addr);
            if let Some(text) = request(number) {
                stream.write_all(text.as_bytes()).unwrap();
            }
            stream
        })
        .collect();
    // Less than the five seconds after which a connection without a request is closed anyway.
    let began = Instant::now();
    let page = raw(&addr, b"GET /login HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let took = began.elapsed();
    drop(waiting);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(page.unwrap().status, 200);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn idle_connections_cannot_keep_others_out_when_descriptors_run_out() {
    assert_others_get_in(|number| {
        number.is_multiple_of(2).then_some("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    });
}

#[test]
fn slow_bodies_cannot_keep_others_out_when_descriptors_run_out() {
    assert_others_get_in(|_| {
        Some(
            "POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nemail",
        )
    });
}

#[test]
fn a_client_that_reads_no_response_is_disconnected() {
    let (server, _database) = site();
    let mut stream = connect(&server.addr);
    let requests = "GET /login HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50);
    let began = Instant::now();
    while stream.write_all(requests.as_bytes()).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    }
    // The server gives up after 30 seconds without progress. A shorter time would cut off slow lines.
    assert!(began.elapsed() > Duration::from_secs(25), "{:?}", began.elapsed());
}

#[test]
fn a_few_empty_lines_before_a_request_are_ignored_and_many_close_the_connection() {
    let (server, _database) = site();
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut stream = connect(&server.addr);
    stream.write_all(format!("\r\n\r\n{request}").as_bytes()).unwrap();
    assert!(read_all(&mut stream, None).starts_with("HTTP/1.1 200"));
    let mut stream = connect(&server.addr);
    stream.write_all(format!("{}{request}", "\n".repeat(1_000)).as_bytes()).unwrap();
    assert_eq!(read_all(&mut stream, None), "");
}
