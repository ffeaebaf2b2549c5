//! What strangers do to an address that is not theirs keeps its owner from nothing, and where a password may be guessed it
//! is counted.

use crate::support::breakpoint::until;
use crate::support::mail::{db_clear_rate_limits, db_mail, db_mails};
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server};

const ADA: &str = "ada@example.com";
const HOME: &str = "198.51.100.7";

/// A server that believes this machine about addresses, and has addresses shown first.
fn behind_a_proxy() -> (Server, Database) {
    let database = Database::new();
    let settings =
        [("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1"), ("FRONTDESK_REGISTRATION", "verified")];
    let server = Server::start(&database, &settings);
    (server, database)
}

/// Registers from `address`; the browser that waits for the mail.
fn register(server: &Server, address: &str, email: &str, password: &str) -> Browser {
    let mut browser = server.browser();
    let fields = [("email", email), ("display_name", "Somebody"), ("password", password)];
    assert_eq!(browser.post_from(address, "/register", &fields).status, 303);
    browser
}

/// Makes an account; the browser that is signed in.
fn account(server: &Server, database: &Database) -> Browser {
    let mut browser = register(server, HOME, ADA, PASSWORD);
    let code = db_mail(database, "verify_registration", 1).text("code").to_owned();
    assert_eq!(browser.post("/verify-email", &[("code", &code)]).status, 303);
    db_clear_rate_limits(database);
    browser
}

fn recover(browser: &mut Browser, address: &str) -> u16 {
    browser.post_from(address, "/forgot-password", &[("email", ADA)]).status
}

#[test]
fn attempts_by_others_never_block_the_owners_password_reset() {
    let (server, database) = behind_a_proxy();
    account(&server, &database);
    let all_answered = || {
        until(|| database.db_count("SELECT count(*) FROM recovery_requests") == 0);
        db_mails(&database)
            .into_iter()
            .filter(|mail| mail.kind == "reset_password")
            .collect::<Vec<_>>()
    };
    for number in 0..10 {
        assert_eq!(recover(&mut server.browser(), &format!("203.0.113.{number}")), 303);
    }
    assert_eq!(all_answered().len(), 10);
    // The longest wait there is.
    database.db_execute(
        "UPDATE throttles SET free_at = tried_at + interval '15 min' WHERE action = 'recover_mail'",
    );
    for number in 10..40 {
        assert_eq!(recover(&mut server.browser(), &format!("203.0.113.{number}")), 303);
    }
    // Not by what else has to do with the address either.
    for number in 0..20 {
        let mut eve = register(&server, &format!("192.0.2.{number}"), ADA, OTHER_PASSWORD);
        eve.post_from(&format!("192.0.2.{number}"), "/verify-email", &[("again", "on")]);
    }
    assert_eq!(all_answered().len(), 10, "the mailbox is not flooded");
    let mut ada = server.browser();
    assert_eq!(recover(&mut ada, HOME), 303, "the owner is not told to wait");
    assert_eq!(all_answered().len(), 10);
    // The next one may go long before the link of the last one is over.
    let left = "SELECT extract(epoch FROM (SELECT expires_at FROM email_tokens WHERE purpose = 'reset_password')
                                          - (SELECT free_at FROM throttles WHERE action = 'recover_mail'))::bigint";
    assert!(database.db_count(left) > 14 * 60);
    database.db_execute("UPDATE throttles SET free_at = now() WHERE action = 'recover_mail'");
    assert_eq!(recover(&mut ada, HOME), 303);
    assert_eq!(all_answered().len(), 11);
    // And where no link is good any more, one goes whoever asked how often.
    database.db_execute("UPDATE email_tokens SET expires_at = now()");
    assert_eq!(recover(&mut ada, HOME), 303);
    let sent = all_answered();
    assert_eq!(sent.len(), 12);
    let link = format!("/reset-password/{}", sent[11].text("token"));
    assert_eq!(ada.post_from(HOME, &link, &[("new_password", OTHER_PASSWORD)]).status, 303);
    assert_eq!(ada.login_from(HOME, ADA, OTHER_PASSWORD).status, 303);
}

#[test]
fn a_reset_lets_the_owner_sign_in_despite_attempts_by_others() {
    let (server, database) = behind_a_proxy();
    account(&server, &database);
    let hammer = |password: &str| {
        for number in 0..20 {
            let address = format!("203.0.113.{number}");
            assert_eq!(server.browser().login_from(&address, ADA, password).status, 422);
        }
        database.db_execute(
            "UPDATE throttles SET free_at = now() + interval '1 hour' WHERE action = 'sign_in_account'",
        );
    };
    hammer(OTHER_PASSWORD);
    let mut ada = server.browser();
    assert_eq!(ada.login_from(HOME, ADA, PASSWORD).status, 429);
    assert_eq!(recover(&mut ada, HOME), 303);
    let link = db_mail(&database, "reset_password", 1).text("token").to_owned();
    let fields = [("new_password", OTHER_PASSWORD)];
    assert_eq!(ada.post_from(HOME, &format!("/reset-password/{link}"), &fields).status, 303);
    assert!(!ada.is_signed_in());
    // From anywhere.
    let mut elsewhere = server.browser();
    assert_eq!(elsewhere.login_from("198.51.100.8", ADA, OTHER_PASSWORD).status, 303);
    // And with the browser of the reset, whatever comes after it.
    hammer(PASSWORD);
    assert_eq!(server.browser().login_from(HOME, ADA, OTHER_PASSWORD).status, 429);
    assert_eq!(ada.login_from(HOME, ADA, OTHER_PASSWORD).status, 303);
    assert!(ada.is_signed_in());
}

#[test]
fn a_stolen_known_device_cookie_does_not_lock_the_owner_out() {
    let (server, database) = behind_a_proxy();
    let mut home = account(&server, &database);
    let mut phone = server.browser();
    assert_eq!(phone.login_from("198.51.100.8", ADA, PASSWORD).status, 303);
    let mut thief = home.clone();
    thief.cookies.remove("session");
    let seen: Vec<u16> =
        (0..17).map(|_| thief.login_from("203.0.113.1", ADA, OTHER_PASSWORD).status).collect();
    assert_eq!(seen[..15], [422; 15], "ten by the device, five like anybody");
    assert_eq!(seen[15..], [429; 2]);
    let refused = thief.login_from("203.0.113.1", ADA, PASSWORD);
    assert!((1..=30).contains(&refused.header("retry-after").unwrap().parse::<u64>().unwrap()));
    assert_eq!(home.login_from(HOME, ADA, PASSWORD).status, 303, "as without the cookie");
    // Now by a new id, which the copy has not got; the other device never was touched.
    database.db_execute(
        "UPDATE throttles SET free_at = now() + interval '1 hour' WHERE action <> 'sign_in_device' OR tries = 10",
    );
    for _ in 0..2 {
        assert_eq!(home.login_from(HOME, ADA, PASSWORD).status, 303);
        assert_eq!(phone.login_from("198.51.100.8", ADA, PASSWORD).status, 303);
        assert_eq!(thief.login_from("203.0.113.1", ADA, PASSWORD).status, 429);
    }
}

#[test]
fn a_new_password_invalidates_every_other_known_device() {
    let (server, database) = behind_a_proxy();
    let mut home = account(&server, &database);
    let mut phone = server.browser();
    assert_eq!(phone.login_from(HOME, ADA, PASSWORD).status, 303);
    let all_wait = || {
        server.browser().login_from("203.0.113.1", ADA, "not the password");
        database.db_execute(
            "UPDATE throttles SET free_at = now() + interval '1 hour' WHERE action = 'sign_in_account'",
        );
    };
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(home.post("/account/password", &fields).status, 303);
    all_wait();
    assert_eq!(phone.clone().login_from(HOME, ADA, OTHER_PASSWORD).status, 429);
    assert_eq!(home.login_from(HOME, ADA, OTHER_PASSWORD).status, 303);
    // By a link too.
    let copy = home.clone();
    assert_eq!(recover(&mut phone, HOME), 303);
    let link = db_mail(&database, "reset_password", 1).text("token").to_owned();
    let fields = [("new_password", "a third password of theirs")];
    assert_eq!(phone.post_from(HOME, &format!("/reset-password/{link}"), &fields).status, 303);
    all_wait();
    let third = "a third password of theirs";
    assert_eq!(copy.clone().login_from(HOME, ADA, third).status, 429);
    assert_eq!(phone.login_from(HOME, ADA, third).status, 303);
}

#[test]
fn a_known_device_can_request_a_reset_while_its_ip_is_rate_limited() {
    let (server, database) = behind_a_proxy();
    let mut home = account(&server, &database);
    home.post("/logout", &[]);
    let seen: Vec<u16> = (0..6).map(|_| recover(&mut server.browser(), HOME)).collect();
    assert_eq!(seen, [303, 303, 303, 303, 429, 429]);
    let seen: Vec<u16> = (0..5).map(|_| recover(&mut home, HOME)).collect();
    assert_eq!(seen, [303; 5]);
}

#[test]
fn attempts_by_others_never_block_the_owner_of_an_email_from_registering() {
    let (server, database) = behind_a_proxy();
    let prepare = |number: usize| {
        let address = format!("203.0.113.{number}");
        (register(&server, &address, ADA, OTHER_PASSWORD), address)
    };
    let mut eve: Vec<(Browser, String)> = (0..10).map(prepare).collect();
    until(|| db_mails(&database).len() == 10);
    database.db_execute(
        "UPDATE throttles SET free_at = now() + interval '10 min' WHERE action = 'register_mail'",
    );
    eve.extend((10..12).map(prepare));
    let mut ada = register(&server, HOME, ADA, PASSWORD);
    // The loop has been there: what came later, to another address, has its mail.
    register(&server, "192.0.2.1", "bob@example.com", PASSWORD);
    until(|| db_mails(&database).iter().any(|mail| mail.recipient == "bob@example.com"));
    assert_eq!(db_mails(&database).len(), 11, "ten to Ada, the rest of them wait");
    // Wrong codes and mails asked for are counted by the registration.
    let (one, address) = &mut eve[0];
    let codes: Vec<u16> = (0..17)
        .map(|_| one.post_from(address, "/verify-email", &[("code", "0000-0000")]).status)
        .collect();
    assert_eq!(codes[..15], [422; 15]);
    assert_eq!(codes[15..], [429; 2]);
    let again: Vec<u16> = (0..7)
        .map(|_| one.post_from(address, "/verify-email", &[("again", "on")]).status)
        .collect();
    assert_eq!(again, [303, 303, 303, 303, 303, 429, 429]);
    // The wait of the mails ends, and those that waited go, the owner's among them.
    database.db_execute("DELETE FROM throttles WHERE action = 'register_mail'");
    until(|| database.db_count("SELECT count(*) FROM registrations WHERE mailed_at IS NULL") == 0);
    let mails = db_mails(&database);
    let own = mails.iter().rfind(|mail| mail.recipient == ADA).unwrap();
    let answer = ada.post_from(HOME, "/verify-email", &[("code", own.text("code"))]);
    assert_eq!(answer.status, 303, "the oldest first, so hers came last: {mails:?}");
    assert!(ada.is_signed_in());
}

#[test]
fn password_guesses_on_a_link_page_share_the_sign_in_limits() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1")]);
    let mut ada = server.browser();
    ada.register(ADA);
    let link = format!("/verify-email/{}", db_mail(&database, "verify_email", 1).text("token"));
    db_clear_rate_limits(&database);
    let guess = |address: &str| {
        server.browser().post_from(address, &link, &[("password", OTHER_PASSWORD)]).status
    };
    // One who reads the mail, from one address: five, and none at the sign-in page either.
    let seen: Vec<u16> = (0..7).map(|_| guess(HOME)).collect();
    assert_eq!(seen, [422, 422, 422, 422, 422, 429, 429]);
    assert_eq!(server.browser().login_from(HOME, ADA, OTHER_PASSWORD).status, 429);
    // From the whole world: twenty in all.
    let seen: Vec<u16> = (0..17).map(|number| guess(&format!("203.0.113.{number}"))).collect();
    assert_eq!(seen[..15], [422; 15]);
    assert_eq!(seen[15..], [429; 2]);
    assert_eq!(
        database.db_texts(
            "SELECT DISTINCT details->>'by' FROM audit_events
              WHERE details->>'why' = 'throttled' ORDER BY 1"
        ),
        ["account", "pair"]
    );
    // In the own session nothing is guessed at.
    assert_eq!(ada.post_from(HOME, &link, &[]).status, 303);
}

#[test]
fn a_registration_allows_fifteen_password_guesses_from_all_ips_together() {
    let (server, database) = behind_a_proxy();
    let mut ada = register(&server, HOME, ADA, PASSWORD);
    let mail = db_mail(&database, "verify_registration", 1);
    let link = format!("/verify-email/{}", mail.text("token"));
    let seen: Vec<u16> = (0..17)
        .map(|number| {
            let fields = [("password", OTHER_PASSWORD)];
            server.browser().post_from(&format!("203.0.113.{number}"), &link, &fields).status
        })
        .collect();
    assert_eq!(seen[..15], [422; 15]);
    assert_eq!(seen[15..], [429; 2]);
    let fields = [("code", mail.text("code"))];
    assert_eq!(ada.post_from(HOME, "/verify-email", &fields).status, 303, "counted apart");
}
