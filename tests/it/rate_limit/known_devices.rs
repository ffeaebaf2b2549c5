//! Browsers that have signed in before have their own counters, and their sign-ins are not notified to the
//! owner.

use super::{ADA, behind_a_proxy, guesses};
use crate::command_line::run;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

#[test]
fn the_owner_can_sign_in_from_a_known_device_while_the_account_is_under_attack() {
    let (server, database) = behind_a_proxy();
    let mut home = server.browser();
    home.register(ADA);
    let mut elsewhere = server.browser();
    assert_eq!(elsewhere.login_from("198.51.100.1", ADA, PASSWORD).status, 303);
    home.post("/logout", &[]);
    assert!(home.session().is_none() && home.cookies.contains_key("device"));
    // From many IP addresses, and from the owner's own.
    let distributed = guesses(&server, ADA, 30, |number| format!("203.0.113.{number}"));
    assert_eq!(distributed.iter().filter(|status| **status == 422).count(), 20, "{distributed:?}");
    database.db_execute("UPDATE throttles SET free_at = now() + interval '1 hour'");
    assert_eq!(guesses(&server, ADA, 3, |_| "198.51.100.7".to_owned()), [429; 3]);
    assert_eq!(server.browser().login_from("198.51.100.7", ADA, PASSWORD).status, 429);
    assert!(elsewhere.is_signed_in(), "an existing session is not affected");
    for _ in 0..30 {
        let answer = home.login_from("198.51.100.7", ADA, PASSWORD);
        assert_eq!((answer.status, answer.location()), (303, "/account"));
        assert!(home.is_signed_in());
    }
    // The device is known for this account only and has its own limit, and its use gives other browsers no
    // attempts.
    let mut thief = home.clone();
    thief.cookies.remove("session");
    let statuses: Vec<u16> =
        (0..12).map(|_| thief.login_from("203.0.113.99", ADA, OTHER_PASSWORD).status).collect();
    assert_eq!(statuses[..10], [422; 10]);
    assert_eq!(statuses[10..], [429; 2]);
    assert_eq!(guesses(&server, ADA, 1, |_| "203.0.113.77".to_owned()), [429]);
    assert!(elsewhere.is_signed_in() && home.is_signed_in());
    database.db_execute("DELETE FROM throttles");
    let bob = "bob@example.com";
    registered(&server, bob);
    let seen: Vec<u16> =
        (0..6).map(|_| thief.login_from("203.0.113.99", bob, OTHER_PASSWORD).status).collect();
    assert_eq!(seen, [422, 422, 422, 422, 422, 429]);
}

#[test]
fn the_owner_is_notified_of_sign_ins_on_new_devices_only() {
    let (server, database) = site();
    let mails = || database.db_count("SELECT count(*) FROM mail_outbox WHERE kind = 'new_device'");
    let mut home = registered(&server, ADA);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    assert_eq!(mails(), 0, "not at registration");
    home.post("/logout", &[]);
    assert_eq!(home.login(ADA, PASSWORD).status, 303);
    assert_eq!(mails(), 0, "not on a device that has signed in before");
    let mut other = server.browser();
    assert_eq!(other.login(ADA, OTHER_PASSWORD).status, 422);
    assert_eq!(mails(), 0, "not without a sign-in");
    assert_eq!(other.login(ADA, PASSWORD).status, 303);
    assert_eq!(mails(), 1);
    assert_eq!(other.login(ADA, PASSWORD).status, 303);
    assert_eq!(mails(), 1);
    let owner = "SELECT recipient || ' ' || (m.user_id = u.id) FROM mail_outbox m, users u WHERE kind = 'new_device'";
    assert_eq!(database.db_texts(owner), ["ada@example.com true"]);
    // A cookie of another user's device, an invalid cookie, and two cookies count as a new device.
    let eve = registered(&server, "eve@example.com");
    let valid = home.cookies["device"].clone();
    let invalid = format!("{}{}", if valid.starts_with('A') { 'B' } else { 'A' }, &valid[1..]);
    for (expected, device) in [
        (2, eve.cookies["device"].clone()),
        (3, invalid),
        (4, format!("{valid}; device={valid}")),
        (5, format!("{valid}; %64evice={valid}")),
        (6, String::new()),
        (6, valid),
    ] {
        let mut browser = server.browser();
        browser.cookies.insert("device".to_owned(), device);
        assert_eq!(browser.login(ADA, PASSWORD).status, 303);
        assert_eq!(mails(), expected);
    }
    // The cookie holds five accounts; the sixth replaces the first.
    let mut shared = server.browser();
    for number in 0..6 {
        shared.register(&format!("user{number}@example.com"));
        shared.post("/logout", &[]);
    }
    database.db_execute("UPDATE users SET email_verified_at = now()");
    assert_eq!(shared.login("user5@example.com", PASSWORD).status, 303);
    assert_eq!(shared.login("user1@example.com", PASSWORD).status, 303);
    assert_eq!(mails(), 6);
    assert_eq!(shared.login("user0@example.com", PASSWORD).status, 303);
    assert_eq!(mails(), 7);
}

#[test]
fn the_first_sign_in_to_an_account_created_by_an_operator_is_not_notified() {
    let (server, database) = site();
    let create = ["user", "create", ADA, "--name", "Ada"];
    assert_eq!(run(&database, &create, format!("{PASSWORD}\n")).code, 0);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 303);
    assert_eq!(database.db_count("SELECT count(*) FROM mail_outbox"), 0);
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 303);
    assert_eq!(database.db_count("SELECT count(*) FROM mail_outbox"), 1);
}

#[test]
fn the_known_device_cookie_lasts_a_year_and_does_not_sign_in() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_PUBLIC_URL", "https://desk.example.com")]);
    let mut browser = server.browser();
    let fields = [("email", ADA), ("display_name", "Ada"), ("password", PASSWORD)];
    let answer = browser.post("/register", &fields);
    let cookies = answer.cookies();
    let cookie = cookies.iter().find(|cookie| cookie.starts_with("__Host-device=")).unwrap();
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age=31536000"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain") && cookie.len() < 512, "{cookie}");
    browser.cookies.remove("__Host-session");
    assert!(!browser.is_signed_in());
}
