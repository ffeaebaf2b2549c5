//! How a server stops: the drain, the signals, and what it tells systemd.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::support::breakpoint::until;
use crate::support::folder::new_folder;
use crate::support::{Database, Server, registered, site};

/// Keeps `FRONTDESK_DRAIN` longer than any test, so that only the expected event ends it.
const LONG: (&str, &str) = ("FRONTDESK_DRAIN", "1h");

#[test]
fn after_sigterm_readyz_is_503_and_pages_are_served_until_the_drain_ends() {
    let database = Database::new();
    let mut server = Server::start(&database, &[LONG]).until_live();
    let mut ada = registered(&server, "ada@example.com");
    let mut kept = TcpStream::connect(&server.addr).unwrap();
    server.signal("TERM");
    until(|| server.browser().get("/readyz").status == 503);
    let ready = server.browser().get("/readyz");
    assert!(ready.body.contains("\"stopping\":true"), "{}", ready.body);
    assert_eq!(server.browser().get("/healthz").status, 200);
    assert!(ada.is_signed_in());
    assert_eq!(ada.post("/logout", &[]).status, 303);
    // A proxy must not send its next request on this connection.
    kept.write_all(b"GET /login HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut response = String::new();
    kept.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(response.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{response}");
    // A second signal ends the drain.
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
    assert!(TcpStream::connect(&server.addr).is_err());
}

#[test]
fn the_drain_ends_after_its_time() {
    let database = Database::new();
    let mut server = Server::start(&database, &[("FRONTDESK_DRAIN", "1s")]);
    let began = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn sigint_skips_the_drain_and_sighup_stops_like_sigterm() {
    let database = Database::new();
    let mut server = Server::start(&database, &[LONG]);
    server.signal("INT");
    assert_eq!(server.ended(), Some(0));
    let mut server = Server::start(&database, &[]);
    server.signal("HUP");
    assert_eq!(server.ended(), Some(0));
    assert!(server.log().contains("stopping"), "{}", server.log());
}

#[test]
fn an_idle_connection_is_closed_promptly_at_the_stop() {
    let (mut server, _database) = site();
    let mut idle = TcpStream::connect(&server.addr).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut part = [0; 4096];
    assert!(idle.read(&mut part).unwrap() > 0);
    let unused = TcpStream::connect(&server.addr).unwrap();
    server.signal("TERM");
    // Without a timeout on the client's side; requests in flight would be waited for for ten seconds.
    let began = Instant::now();
    assert_eq!(idle.read(&mut part).unwrap(), 0);
    assert_eq!(server.ended(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    drop(unused);
}

#[test]
fn a_clean_stop_logs_no_warning() {
    let database = Database::new();
    let settings = [("FRONTDESK_METRICS_BIND", "127.0.0.1:0")];
    let server = Server::start(&database, &settings).until_live();
    assert!(registered(&server, "ada@example.com").is_signed_in());
    let log = server.stop();
    assert!(log.contains("stopped"), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

#[test]
fn systemd_is_told_when_the_server_is_ready_and_when_it_stops() {
    let folder = new_folder("notify");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut message = [0; 1024];
    let mut next = || {
        let count = socket.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..count]).trim().to_owned()
    };
    let database = Database::new();
    let mut server = Server::start(&database, &[("NOTIFY_SOCKET", path.to_str().unwrap()), LONG]);
    assert_eq!(next(), "READY=1");
    server.signal("TERM");
    assert_eq!(next(), "STOPPING=1");
    server.signal("INT");
    assert_eq!(server.ended(), Some(0));
}
