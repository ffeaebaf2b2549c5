//! What visitors, members and administrators do with the site.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use frontdesk::testing::{Browser, Response, TestServer};

/// A server with the events of the command `sample-events`: the first one is tomorrow and has 8 places.
fn start() -> TestServer {
    let server = TestServer::start(env!("CARGO_BIN_EXE_clubhouse"));
    run(&server, &["sample-events"]);
    server
}

fn run(server: &TestServer, arguments: &[&str]) {
    let output = server.command(arguments);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
}

fn member(server: &TestServer, email: &str) -> Browser {
    let browser = server.browser().sign_in(email);
    server.command(["group", "add", "members"]);
    run(server, &["group", "add-member", "members", email]);
    browser
}

fn upload(browser: &Browser, picture: &[u8]) -> Response {
    let head = "--x\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"me.png\"\r\n\
                Content-Type: image/png\r\n\r\n";
    let body = [head.as_bytes(), picture, b"\r\n--x--\r\n"].concat();
    let headers = [
        ("Content-Type", "multipart/form-data; boundary=x"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    browser.request("POST", "/members/picture", headers, &body)
}

#[test]
fn everyone_sees_the_calendar_and_can_subscribe_to_it() {
    let server = start();
    let visitor = server.browser();
    assert!(visitor.get("/").text().contains("First row of the year"));
    assert!(visitor.get("/calendar").text().contains("Annual meeting"));
    let event = visitor.get("/events/1");
    assert!(event.text().contains("Sign in to come along"), "{}", event.text());
    let feed = visitor.get("/calendar.ics");
    assert_eq!(feed.header("content-type"), Some("text/calendar; charset=utf-8"));
    assert_eq!(feed.text().matches("BEGIN:VEVENT").count(), 3);
    assert_eq!(feed.header("set-cookie"), None);
    assert_eq!(visitor.get("/events/4").status(), 404);
}

#[test]
fn when_many_sign_up_at_once_on_two_servers_only_as_many_as_there_are_places_are_guests() {
    let server = start();
    let other = server.another();
    let guests: Vec<Browser> = (0..20)
        .map(|n| {
            let browser = server.browser().sign_in(&format!("guest{n}@example.com"));
            if n % 2 == 0 { browser } else { other.browser_with_cookies_of(&browser) }
        })
        .collect();
    thread::scope(|scope| {
        for guest in &guests {
            scope.spawn(|| assert_eq!(guest.post("/events/1/sign-up", []).status(), 303));
        }
    });
    let count = sqlx::query_scalar("SELECT count(*) FROM guests").fetch_one(server.pool());
    assert_eq!(server.block_on::<_>(count).unwrap_or(0_i64), 8);
    assert!(server.browser().get("/events/1").text().contains(">8</span> of 8 places are taken"));
    // A place that becomes free can be taken, and a second sign-up of the same guest takes none.
    let leaving =
        guests.iter().find(|guest| guest.get("/events/1").text().contains("Leave the list"));
    let leaving = leaving.expect("a guest");
    leaving.get("/events/1");
    assert!(leaving.follow(leaving.submit("/events/1/leave", [])).text().contains("no longer on"));
    for _ in 0..2 {
        leaving.post("/events/1/sign-up", []);
    }
    assert!(server.browser().get("/events/1").text().contains(">8</span> of 8 places are taken"));
}

/// Opens the event stream at `path`, and returns its lines as they arrive.
fn stream(server: &TestServer, viewer: &Browser, path: &str) -> Lines<BufReader<TcpStream>> {
    let address = server.url().trim_start_matches("http://");
    let session = viewer.cookie("session").expect("a session");
    let mut connection = TcpStream::connect(address).expect("a connection");
    connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    write!(
        connection,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: session={session}\r\n\r\n"
    )
    .expect("a request");
    BufReader::new(connection).lines()
}

fn wait_for(lines: &mut Lines<BufReader<TcpStream>>, expected: &str) {
    let found = lines.any(|line| line.expect("the stream goes on").contains(expected));
    assert!(found, "the stream ended without {expected}");
}

#[test]
fn the_guest_list_shows_sign_ups_on_every_server_and_ends_at_sign_out() {
    let server = start();
    let other = server.another();
    let ada = server.browser().sign_in("ada@example.com");
    let mut list = stream(&server, &ada, "/events/1/guests");
    wait_for(&mut list, "data: []");
    let bob = other.browser().sign_in("bob@example.com");
    bob.post("/events/1/sign-up", []);
    wait_for(&mut list, r#"data: ["bob"]"#);
    let same_session = other.browser_with_cookies_of(&ada);
    same_session.get("/account");
    assert_eq!(same_session.submit("/logout", []).status(), 303);
    bob.post("/events/1/leave", []);
    // The last chunk, which is empty. No list comes before it.
    let deadline = Instant::now() + Duration::from_secs(30);
    for line in list {
        let line = line.expect("the stream is ended by the server");
        assert!(!line.contains("data:") && Instant::now() < deadline, "{line}");
        if line == "0" {
            break;
        }
    }
    assert_eq!(ada.request("GET", "/events/1/guests", [], b"").status(), 401);
}

#[test]
fn only_members_see_the_directory() {
    let server = start();
    let guest = server.browser().sign_in("guest@example.com");
    let refused = guest.get("/members");
    assert_eq!(refused.status(), 403);
    assert!(refused.text().contains("You don&#39;t have access to this page"));
    let ada = member(&server, "ada@example.com");
    assert!(ada.get("/members").text().contains("<bdi>ada</bdi>"));
    run(&server, &["group", "remove-member", "members", "ada@example.com"]);
    assert_eq!(ada.get("/members").status(), 403);
    let answer = server.browser().get("/members");
    assert!(answer.location().starts_with("/login"), "{}", answer.location());
}

#[test]
fn a_picture_is_judged_by_its_content_and_shown_to_members_only() {
    let server = start();
    let ada = member(&server, "ada@example.com");
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 2000]].concat();
    for refused in [b"<svg onload=alert(1)>".as_slice(), b"", b"GIF89a......", &[0; 100]] {
        let answer = ada.follow(upload(&ada, refused));
        assert!(answer.text().contains("Choose a picture"), "{}", answer.text());
    }
    let large = [png.as_slice(), &vec![0; 3 << 20]].concat();
    assert_eq!(upload(&ada, &large).status(), 413);
    assert!(ada.follow(upload(&ada, &png)).text().contains("Picture saved."));
    let page = ada.get("/members");
    let path = page.text().split("<img src=\"").nth(1).and_then(|rest| rest.split('"').next());
    let path = path.expect("a picture").to_owned();
    let shown = ada.get(&path);
    assert_eq!((shown.header("content-type"), shown.body()), (Some("image/png"), png.as_slice()));
    assert_eq!(server.browser().sign_in("guest@example.com").get(&path).status(), 403);
    ada.get("/account/export");
    let export = ada.submit("/account/export", []);
    assert!(export.text().contains(&path), "{}", export.text());
}

#[test]
fn administrators_add_events_in_the_time_zone_of_the_club() {
    let server = TestServer::start_with(
        env!("CARGO_BIN_EXE_clubhouse"),
        [("CLUBHOUSE_TIME_ZONE", "America/New_York")],
    );
    let ada = server.browser().sign_in("ada@example.com");
    assert_eq!(ada.get("/events/new").status(), 404);
    // A new role ends the sessions of the user.
    run(&server, &["user", "promote", "ada@example.com"]);
    let ada = server.browser().sign_in("ada@example.com");
    ada.get("/events/new");
    let event = |starts: &'static str, capacity: &'static str| {
        [("title", "Night race"), ("place", "Pier"), ("starts", starts), ("capacity", capacity)]
    };
    for (starts, capacity, problem) in [
        ("2099-02-30T10:00", "8", "Enter a date and a time"),
        ("tomorrow", "8", "Enter a date and a time"),
        ("2099-07-01T21:30", "0", "Enter a number from 1 to 1,000."),
        ("2099-07-01T21:30", "many", "Enter a whole number."),
    ] {
        let refused = ada.submit("/events/new", event(starts, capacity));
        assert_eq!(refused.status(), 422);
        assert!(refused.text().contains(problem), "{}", refused.text());
    }
    let added = ada.follow(ada.submit("/events/new", event("2099-07-01T21:30", "8")));
    assert!(added.text().contains("Wednesday, 1 July 2099, 21:30"), "{}", added.text());
    assert!(ada.get("/calendar.ics").text().contains("DTSTART:20990702T013000Z"));
}

#[test]
fn guests_of_the_events_of_tomorrow_are_reminded() {
    let server = start();
    let ada = server.browser().sign_in("ada@example.com");
    ada.post("/events/1/sign-up", []);
    // The job runs when a server starts.
    let other = server.another();
    let mail = server.mail_to("ada@example.com");
    assert_eq!(mail.subject, "See you soon at The Lake Club");
    assert!(mail.text.contains("First row of the year, Boathouse"), "{}", mail.text);
    assert_eq!(other.stop(), Some(0));
    let waiting = sqlx::query_scalar("SELECT count(*) FROM guests WHERE reminded_at IS NULL");
    assert_eq!(server.block_on(waiting.fetch_one(server.pool())).unwrap_or(1_i64), 0);
}
