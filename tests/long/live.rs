//! Ten thousand open event streams on two servers: every end of a session closes the right ones, in the time that
//! docs/LIVE.md promises.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use frontdesk::crypto::secret::Secret;
use uuid::Uuid;

use crate::support::database::session_cookie;
use crate::support::proxy::{Link, Proxy};
use crate::support::website::start;
use crate::support::{Browser, Database, Server, registered};

/// Sessions, each with one stream on each of two servers.
const SESSIONS: usize = 5000;

/// An open stream of the session with that number.
struct Open {
    stream: TcpStream,
    session: usize,
    /// Of the servers.
    server: usize,
}

fn resident_kib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Sessions of one user, whose password is not hashed five thousand times: their ids, and a browser with each.
fn db_create_sessions(database: &Database, server: &Server) -> (Vec<String>, Vec<Browser>) {
    let sessions: Vec<(Uuid, Secret)> =
        (0..SESSIONS).map(|_| (Uuid::new_v4(), Secret::generate())).collect();
    let rows: Vec<String> = sessions
        .iter()
        .map(|(id, secret)| {
            format!("('{id}'::uuid, '\\x{}'::bytea)", hex::encode(secret.digest().as_bytes()))
        })
        .collect();
    database.db_execute(&format!(
        "INSERT INTO frontdesk.sessions (token_digest, id, user_id, authenticated_at, auth_methods, idle_timeout,
                                         expires_at, absolute_expires_at)
         SELECT s.digest, s.id, u.id, now(), '{{pwd}}', interval '2 hours', now() + interval '2 hours',
                now() + interval '1 day'
           FROM frontdesk.users u, (VALUES {}) AS s (id, digest)",
        rows.join(",")
    ));
    sessions
        .iter()
        .map(|(id, secret)| {
            let mut browser = server.browser();
            browser.cookies.insert("session".to_owned(), session_cookie(secret));
            (id.to_string(), browser)
        })
        .unzip()
}

/// Five thousand sockets on this side of each server, and some files.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    assert!(maximum.is_none_or(|maximum| maximum >= 15_000), "ulimit -Hn is {maximum:?}");
    setrlimit(Resource::Nofile, Rlimit { current: Some(15_000), maximum }).unwrap();
}

/// Waits until `count` of the streams have ended, at most until `within` after `began`. Returns which, with the time of
/// each since then. Waits another second, in which no other one may end.
fn ended(
    streams: &mut Vec<Open>,
    count: usize,
    began: Instant,
    within: Duration,
) -> Vec<(usize, usize, Duration)> {
    let mut found = Vec::new();
    let mut until = began + within;
    while Instant::now() < until {
        let mut fds: Vec<_> =
            streams.iter().map(|open| PollFd::new(&open.stream, PollFlags::IN)).collect();
        let wait = rustix::time::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        poll(&mut fds, Some(&wait)).unwrap();
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        streams.retain_mut(|open| {
            if !ready.next().unwrap_or(false) {
                return true;
            }
            let mut buffer = [0; 1024];
            loop {
                match open.stream.read(&mut buffer) {
                    Ok(0) | Err(_) => {
                        found.push((open.session, open.server, began.elapsed()));
                        return false;
                    }
                    // A comment, or the end of the body, which the end of the connection follows.
                    Ok(_) => {
                        open.stream.set_nonblocking(true).unwrap();
                        match open.stream.read(&mut buffer) {
                            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                                open.stream.set_nonblocking(false).unwrap();
                                return true;
                            }
                            Ok(0) | Err(_) => {
                                found.push((open.session, open.server, began.elapsed()));
                                return false;
                            }
                            Ok(_) => open.stream.set_nonblocking(false).unwrap(),
                        }
                    }
                }
            }
        });
        if found.len() >= count && until > Instant::now() + Duration::from_secs(1) {
            until = Instant::now() + Duration::from_secs(1);
        }
    }
    found
}

#[test]
fn ten_thousand_streams_close_when_their_session_ends_and_no_others() {
    raise_descriptor_limit();
    let database = Database::empty();
    let proxies = [Proxy::start(database.socket()), Proxy::start(database.socket())];
    let servers = [0, 1].map(|n| {
        let url = database.url_through(&proxies[n]);
        let settings = [("SHOP_GREETING", "Hello"), ("FRONTDESK_LISTEN_URL", url.as_str())];
        start("site-under-test", &database, &settings).until_live()
    });
    let mut owner = registered(&servers[0], "ada@example.com");
    let (ids, browsers) = db_create_sessions(&database, &servers[0]);
    let before = [0, 1].map(|n| resident_kib(&servers[n]));
    let mut streams = Vec::new();
    for (session, browser) in browsers.iter().enumerate() {
        for (server, running) in servers.iter().enumerate() {
            let mut stream = TcpStream::connect(&running.browser().addr).unwrap();
            let head = browser.on_server(&running.browser().addr).head("GET", "/listen", &[], "");
            stream.write_all(head.as_bytes()).unwrap();
            let mut text = Vec::new();
            while !text.ends_with(b"data: listening\n\n\r\n") {
                let mut buffer = [0; 1024];
                let count = stream.read(&mut buffer).unwrap();
                assert!(count > 0, "{}", String::from_utf8_lossy(&text));
                text.extend_from_slice(&buffer[..count]);
            }
            streams.push(Open { stream, session, server });
        }
    }
    for (n, server) in servers.iter().enumerate() {
        let kib = resident_kib(server) - before[n];
        println!("server {n}: {kib} KiB for {SESSIONS} connections, all of each included");
    }
    let list = |range: std::ops::Range<usize>| ids[range].join("','");
    let check = |streams: &mut Vec<Open>,
                 what: &str,
                 range: std::ops::Range<usize>,
                 within: u64,
                 end: &mut dyn FnMut()| {
        let began = Instant::now();
        end();
        let found = ended(streams, 2 * range.len(), began, Duration::from_secs(within));
        let mut by_session: HashMap<usize, usize> = HashMap::new();
        for (session, _, _) in &found {
            *by_session.entry(*session).or_default() += 1;
        }
        assert!(by_session.iter().all(|(session, count)| range.contains(session) && *count == 2));
        assert_eq!(by_session.len(), range.len(), "{what}");
        let slowest = found.iter().map(|(_, _, time)| *time).max().unwrap();
        println!("{what}: {} streams, the slowest after {slowest:?}", found.len());
    };
    let mut sign_out = browsers[0].clone();
    check(&mut streams, "a sign-out", 0..1, 5, &mut || {
        assert_eq!(sign_out.post("/logout", &[]).status, 303);
    });
    let revoke = format!("/account/sessions/{}/revoke", ids[1]);
    check(&mut streams, "a revocation", 1..2, 5, &mut || {
        assert_eq!(owner.post(&revoke, &[]).status, 303);
    });
    let delete = |range| {
        let list = list(range);
        database.db_execute(&format!("DELETE FROM frontdesk.sessions WHERE id IN ('{list}')"));
    };
    check(&mut streams, "DELETE of 500 in psql", 2..502, 10, &mut || delete(2..502));
    check(&mut streams, "100 timeouts in 2 s", 502..602, 10, &mut || {
        let list = list(502..602);
        database.db_execute(&format!(
            "UPDATE frontdesk.sessions SET expires_at = now() + interval '2 seconds' WHERE id IN ('{list}')"
        ));
    });
    for proxy in &proxies {
        proxy.set(Link::Stalled);
    }
    let cut = "DELETE of 100 without notifications";
    check(&mut streams, cut, 602..702, 30, &mut || delete(602..702));
    for proxy in &proxies {
        proxy.set(Link::Up);
        proxy.reset();
    }
    check(&mut streams, "sign out everywhere else", 702..SESSIONS, 30, &mut || {
        assert_eq!(owner.post("/account/sessions/revoke-others", &[]).status, 303);
    });
    assert!(streams.is_empty());
}
