//! Connections that outlive a request end with their session.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use frontdesk::web::limits::BODY_DEADLINE;

use crate::log::metric;
use crate::revocation::TERMINATE;
use crate::support::breakpoint::until;
use crate::support::event_stream::EventStream;
use crate::support::port::free_addr;
use crate::support::proxy::{Link, Proxy};
use crate::support::server::Setting;
use crate::support::web_socket::{Frame, WebSocket};
use crate::support::website::start;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered};

/// A server of the site, and the address of its metrics.
struct Site {
    server: Server,
    metrics: String,
}

impl Site {
    fn start(database: &Database, more: &[Setting<'_>]) -> Self {
        let metrics = free_addr();
        let settings = [("SHOP_GREETING", "Hello"), ("FRONTDESK_METRICS_BIND", metrics.as_str())];
        let server = start("site-under-test", database, &[&settings, more].concat());
        Self { server, metrics }
    }

    fn until_live(self) -> Self {
        Self { server: self.server.until_live(), ..self }
    }

    fn watched(&self) -> u64 {
        metric(&self.metrics, "frontdesk_watched_sessions")
    }

    /// Opens a stream in the session of `browser`, and waits until its session is watched.
    fn listen(&self, browser: &Browser) -> EventStream {
        let stream = EventStream::open(&self.own(browser), "/listen");
        assert_eq!(stream.next().as_deref(), Some("listening"));
        stream
    }

    /// Waits in another thread for the reason of the end of the session of `browser`.
    fn end_of(&self, browser: &Browser) -> JoinHandle<String> {
        let mut browser = self.own(browser);
        thread::spawn(move || browser.get("/ended").body)
    }

    fn own(&self, browser: &Browser) -> Browser {
        browser.on_server(&self.server.browser().addr)
    }
}

/// Tells everyone who listens on this server.
fn say(site: &Site, text: &str) {
    let answer =
        site.server.browser().send("POST", "/say", &[("Content-Type", "text/plain")], text);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Another session of the same user.
fn signed_in(site: &Site, email: &str) -> Browser {
    let mut browser = site.server.browser();
    assert_eq!(browser.login(email, PASSWORD).status, 303);
    browser
}

/// A way to end a session.
type End<'a> = (&'a str, &'a dyn Fn(&mut Browser));

#[test]
fn every_end_of_a_session_closes_its_streams_on_two_servers_and_no_others() {
    let database = Database::empty();
    let servers =
        [Site::start(&database, &[]).until_live(), Site::start(&database, &[]).until_live()];
    let bob = registered(&servers[0].server, "bob@example.com");
    let others = [0, 1].map(|n| servers[n].listen(&bob));
    registered(&servers[0].server, "ada@example.com");
    let own = "(SELECT id FROM frontdesk.sessions WHERE user_id = (SELECT id FROM frontdesk.users WHERE email = 'ada@example.com') ORDER BY created_at DESC LIMIT 1)";
    let psql = |statement: &str| {
        database.db_execute(&statement.replace("$1", own));
    };
    let ends: [End<'_>; 8] = [
        ("SignedOut", &|ada| assert_eq!(ada.post("/logout", &[]).status, 303)),
        ("Revoked", &|_| psql("DELETE FROM frontdesk.sessions WHERE id = $1")),
        ("Revoked", &|_| {
            let mut elsewhere = signed_in(&servers[1], "ada@example.com");
            let response = elsewhere.post("/account/sessions/revoke-others", &[]);
            assert_eq!(response.status, 303);
        }),
        ("Revoked", &|_| {
            let mut elsewhere = signed_in(&servers[1], "ada@example.com");
            let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
            assert_eq!(elsewhere.post("/account/password", &fields).status, 303);
            let fields = [("current_password", OTHER_PASSWORD), ("new_password", PASSWORD)];
            assert_eq!(elsewhere.post("/account/password", &fields).status, 303);
        }),
        ("IdleTimeout", &|_| {
            psql(
                "UPDATE frontdesk.sessions SET last_seen_at = now() - idle_timeout, expires_at = now() + interval '1 second' WHERE id = $1",
            );
        }),
        ("AbsoluteTimeout", &|_| {
            psql(
                "UPDATE frontdesk.sessions SET absolute_expires_at = now() + interval '1 second', expires_at = now() + interval '1 second' WHERE id = $1",
            );
        }),
        ("Revoked", &|_| {
            psql("UPDATE frontdesk.users SET disabled_at = now() WHERE email = 'ada@example.com'")
        }),
        ("Revoked", &|_| psql("DELETE FROM frontdesk.users WHERE email = 'ada@example.com'")),
    ];
    for (reason, end) in ends {
        database.db_execute("UPDATE frontdesk.users SET disabled_at = NULL");
        let mut ada = signed_in(&servers[0], "ada@example.com");
        let streams = [0, 1].map(|n| servers[n].listen(&ada));
        let reasons = [0, 1].map(|n| servers[n].end_of(&ada));
        until(|| servers.iter().all(|server| server.watched() == 3));
        end(&mut ada);
        for (told, stream) in reasons.into_iter().zip(streams) {
            assert_eq!(told.join().unwrap(), format!("{reason} false"));
            assert_eq!(stream.rest(), [] as [&str; 0]);
        }
        until(|| servers.iter().all(|server| server.watched() == 1));
    }
    for (server, other) in servers.iter().zip(others) {
        say(server, "still here");
        assert_eq!(other.next().as_deref(), Some("still here"));
    }
}

#[test]
fn nothing_is_sent_to_a_session_after_its_sign_out_was_answered() {
    let database = Database::empty();
    let servers =
        [Site::start(&database, &[]).until_live(), Site::start(&database, &[]).until_live()];
    registered(&servers[0].server, "ada@example.com");
    let stays = signed_in(&servers[0], "ada@example.com");
    let stays = servers[1].listen(&stays);
    for round in 0..20 {
        let mut ada = signed_in(&servers[0], "ada@example.com");
        let leaves = servers[1].listen(&ada);
        say(&servers[1], &format!("before {round}"));
        assert_eq!(ada.post("/logout", &[]).status, 303);
        say(&servers[1], &format!("after {round}"));
        let received = leaves.rest();
        assert!(received.iter().all(|text| !text.starts_with("after")), "{received:?}");
        assert_eq!(stays.next(), Some(format!("before {round}")));
        assert_eq!(stays.next(), Some(format!("after {round}")));
    }
}

#[test]
fn streams_end_without_a_cache_and_without_notifications() {
    let database = Database::empty();
    let proxy = Proxy::start(database.socket());
    let url = database.url_through(&proxy);
    let cut = Site::start(&database, &[("FRONTDESK_LISTEN_URL", &url)]).until_live();
    let off = Site::start(&database, &[("FRONTDESK_SESSION_CACHE", "off")]);
    registered(&off.server, "ada@example.com");
    let stays = signed_in(&off, "ada@example.com");
    for link in [Link::Stalled, Link::BlackHole] {
        let ada = signed_in(&off, "ada@example.com");
        let streams = [&cut, &off].map(|server| server.listen(&ada));
        let others = [&cut, &off].map(|server| server.listen(&stays));
        proxy.set(link);
        let newest = "DELETE FROM frontdesk.sessions WHERE id = (SELECT id FROM frontdesk.sessions ORDER BY created_at DESC LIMIT 1)";
        database.db_execute(newest);
        for stream in streams {
            assert_eq!(stream.rest(), [] as [&str; 0]);
        }
        for (server, other) in [&cut, &off].into_iter().zip(others) {
            say(server, "still here");
            assert_eq!(other.next().as_deref(), Some("still here"));
        }
        proxy.set(Link::Up);
        proxy.reset();
    }
}

#[test]
fn a_killed_listener_ends_only_the_sessions_that_were_revoked_meanwhile() {
    let database = Database::empty();
    let server = Site::start(&database, &[]).until_live();
    registered(&server.server, "ada@example.com");
    let (leaves, stays) =
        (signed_in(&server, "ada@example.com"), signed_in(&server, "ada@example.com"));
    let stays = server.listen(&stays);
    let reason = server.end_of(&leaves);
    until(|| server.watched() == 2);
    database.db_texts(TERMINATE);
    database.db_execute("DELETE FROM frontdesk.sessions WHERE id = (SELECT id FROM frontdesk.sessions ORDER BY created_at DESC OFFSET 1 LIMIT 1)");
    assert_eq!(reason.join().unwrap(), "Revoked false");
    say(&server, "still here");
    assert_eq!(stays.next().as_deref(), Some("still here"));
}

#[test]
fn open_streams_cost_no_statement_while_nothing_changes() {
    let database = Database::empty();
    let server = Site::start(&database, &[]).until_live();
    let ada = registered(&server.server, "ada@example.com");
    let streams: Vec<_> = (0..20).map(|_| server.listen(&ada)).collect();
    let lookups = || metric(&server.metrics, "frontdesk_session_lookups_total");
    let before = lookups();
    for stream in &streams {
        say(&server, "news");
        assert_eq!(stream.next().as_deref(), Some("news"));
    }
    assert_eq!(lookups(), before);
}

#[test]
fn activity_on_a_connection_extends_the_session_and_listening_does_not() {
    let database = Database::empty();
    // With an update interval of two seconds.
    let idle = [("FRONTDESK_SESSION_IDLE_TIMEOUT", "40s")];
    let server = Site::start(&database, &idle).until_live();
    let ada = registered(&server.server, "ada@example.com");
    let chat = EventStream::open(&ada, "/chat");
    assert_eq!(chat.next().as_deref(), Some("listening"));
    let seen = "SELECT count(*) FROM frontdesk.sessions WHERE last_seen_at > now() - interval '20 seconds'";
    database.db_execute(
        "UPDATE frontdesk.sessions SET last_seen_at = now() - interval '25 seconds', expires_at = now() + interval '15 seconds'",
    );
    until(|| {
        say(&server, "hello");
        database.db_count(seen) == 1
    });
    let bob = registered(&server.server, "bob@example.com");
    let listens = server.listen(&bob);
    let soon = "UPDATE frontdesk.sessions SET expires_at = now() + interval '5 seconds'
                 WHERE user_id = (SELECT id FROM frontdesk.users WHERE email = 'bob@example.com')";
    database.db_execute(soon);
    say(&server, "hello");
    assert_eq!(listens.rest(), ["hello"]);
    say(&server, "hello");
    drop(chat);
}

#[test]
fn streams_end_first_when_the_server_stops() {
    let database = Database::empty();
    let server = Site::start(&database, &[]).until_live();
    let ada = registered(&server.server, "ada@example.com");
    let (stream, reason) = (server.listen(&ada), server.end_of(&ada));
    until(|| server.watched() == 2);
    server.server.stop();
    assert_eq!(reason.join().unwrap(), "ServerStopping false");
    assert_eq!(stream.rest(), [] as [&str; 0]);
    assert_eq!(database.db_count("SELECT count(*) FROM frontdesk.sessions"), 1);
}

#[test]
fn a_handshake_from_another_site_is_refused() {
    let database = Database::empty();
    let server = Site::start(&database, &[]);
    let mut ada = registered(&server.server, "ada@example.com");
    let upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade")];
    for (header, status) in [
        (("Origin", "https://evil.example"), 403),
        (("Sec-Fetch-Site", "cross-site"), 403),
        (("Sec-Fetch-Site", "same-site"), 403),
        (("Sec-Fetch-Site", "same-origin"), 200),
        (("Accept", "*/*"), 200),
    ] {
        let answer = ada.send("GET", "/whoami", &[upgrade[0], upgrade[1], header], "");
        assert_eq!(answer.status, status, "{header:?}");
    }
    assert_eq!(ada.send("GET", "/whoami", &[("Origin", "https://evil.example")], "").status, 200);
}

#[test]
fn a_websocket_receives_and_sends_for_as_long_as_its_session_lives() {
    let database = Database::empty();
    let server = Site::start(&database, &[]).until_live();
    let mut ada = registered(&server.server, "ada@example.com");
    let bob = registered(&server.server, "bob@example.com");
    let text = |text: &str| Some(Frame::Text(text.to_owned()));
    let began = Instant::now();
    let mut leaves = WebSocket::open(&ada, "/socket", "here is ada");
    assert_eq!(leaves.next(), text("here is ada"));
    let mut stays = WebSocket::open(&bob, "/socket", "here is bob");
    for socket in [&mut leaves, &mut stays] {
        assert_eq!(socket.next(), text("here is bob"));
    }
    // Together more than a body may have.
    let long = "x".repeat(40 * 1024);
    for _ in 0..3 {
        leaves.send(&long);
        for socket in [&mut leaves, &mut stays] {
            assert_eq!(socket.next(), text(&long));
        }
    }
    // Longer than a body may take.
    thread::sleep((BODY_DEADLINE + Duration::from_secs(1)).saturating_sub(began.elapsed()));
    leaves.send("still here");
    for socket in [&mut leaves, &mut stays] {
        assert_eq!(socket.next(), text("still here"));
    }
    assert_eq!(ada.post("/logout", &[]).status, 303);
    assert_eq!((leaves.next(), leaves.next()), (Some(Frame::Close), None));
    stays.send("without ada");
    assert_eq!(stays.next(), text("without ada"));
    server.server.stop();
    assert_eq!((stays.next(), stays.next()), (Some(Frame::Close), None));
}

#[test]
fn only_a_websocket_lifts_the_limits_and_no_request_follows_a_101() {
    let database = Database::empty();
    let server = Site::start(&database, &[]).until_live();
    let mut ada = registered(&server.server, "ada@example.com");
    let upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade")];
    let headers = [upgrade[0], upgrade[1], ("Content-Type", "text/plain")];
    let large = "x".repeat(100 * 1024);
    assert_eq!(ada.send("POST", "/bytes", &headers, &large).status, 413);
    // The site answers 101, but actix-http does not read these as WebSockets without an end.
    let request = b"XXXXXGET /feed HTTP/1.1\r\nHost: x\r\n\r\n";
    let sockets =
        [("Content-Length", "5", &request[..]), ("Upgrade", "websocket, other", &request[5..])]
            .map(|(name, value, bytes)| {
                let (socket, head) = WebSocket::handshake(&ada, "/socket", &[(name, value)], bytes);
                assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
                socket
            });
    assert_eq!(ada.post("/logout", &[]).status, 303);
    for socket in sockets {
        let rest = socket.rest();
        assert!(!rest.contains("HTTP/1.1"), "{rest:?}");
    }
}
