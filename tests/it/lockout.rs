//! Account lockout: attempts by others never lock the owner out, and every place that accepts a password counts wrong
//! guesses.

use crate::support::breakpoint::until;
use crate::support::mail::{db_clear_rate_limits, db_mail, db_mails};
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server};

const ADA: &str = "ada@example.com";
const HOME: &str = "198.51.100.7";

/// A server that trusts X-Forwarded-For from this machine, with verified registration.
fn behind_a_proxy() -> (Server, Database) {
    let database = Database::new();
    let settings =
        [("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1"), ("FRONTDESK_REGISTRATION", "verified")];
    let server = Server::start(&database, &settings);
    (server, database)
}

/// Registers from `ip`. Returns the browser that waits for the code.
fn register(server: &Server, ip: &str, email: &str, password: &str) -> Browser {
    let mut browser = server.browser();
    let fields = [("email", email), ("display_name", "Someone"), ("password", password)];
    assert_eq!(browser.post_from(ip, "/register", &fields).status, 303);
    browser
}

/// Creates an account. Returns a browser that is signed in.
fn account(server: &Server, database: &Database) -> Browser {
    let mut browser = register(server, HOME, ADA, PASSWORD);
    let code = db_mail(database, "verify_registration", 1).text("code").to_owned();
    assert_eq!(browser.post("/verify-email", &[("code", &code)]).status, 303);
    db_clear_rate_limits(database);
    browser
}

fn request_reset(browser: &mut Browser, ip: &str) -> u16 {
    browser.post_from(ip, "/forgot-password", &[("email", ADA)]).status
}

#[test]
fn attempts_by_others_never_block_the_owners_password_reset() {
    let (server, database) = behind_a_proxy();
    account(&server, &database);
    let reset_mails = || {
        until(|| database.db_count("SELECT count(*) FROM recovery_requests") == 0);
        db_mails(&database)
            .into_iter()
            .filter(|mail| mail.kind == "reset_password")
            .collect::<Vec<_>>()
    };
    for number in 0..10 {
        assert_eq!(request_reset(&mut server.browser(), &format!("203.0.113.{number}")), 303);
    }
    assert_eq!(reset_mails().len(), 10);
    // The longest wait.
    database.db_execute(
        "UPDATE throttles SET free_at = tried_at + interval '15 min' WHERE action = 'recover_mail'",
    );
    for number in 10..40 {
        assert_eq!(request_reset(&mut server.browser(), &format!("203.0.113.{number}")), 303);
    }
    // Registrations of the same email have no effect on it either.
    for number in 0..20 {
        let mut eve = register(&server, &format!("192.0.2.{number}"), ADA, OTHER_PASSWORD);
        eve.post_from(&format!("192.0.2.{number}"), "/verify-email", &[("again", "on")]);
    }
    assert_eq!(reset_mails().len(), 10, "the mailbox is not flooded");
    let mut ada = server.browser();
    assert_eq!(request_reset(&mut ada, HOME), 303, "the owner is not rate limited");
    assert_eq!(reset_mails().len(), 10);
    // The next mail may be sent long before the link of the last one expires.
    let left = "SELECT extract(epoch FROM (SELECT expires_at FROM email_tokens WHERE purpose = 'reset_password')
                                          - (SELECT free_at FROM throttles WHERE action = 'recover_mail'))::bigint";
    assert!(database.db_count(left) > 14 * 60);
    database.db_execute("UPDATE throttles SET free_at = now() WHERE action = 'recover_mail'");
    assert_eq!(request_reset(&mut ada, HOME), 303);
    assert_eq!(reset_mails().len(), 11);
    // When no link is valid, a mail is sent regardless of the number of earlier requests.
    database.db_execute("UPDATE email_tokens SET expires_at = now()");
    assert_eq!(request_reset(&mut ada, HOME), 303);
    let sent = reset_mails();
    assert_eq!(sent.len(), 12);
    let link = format!("/reset-password/{}", sent[11].text("token"));
    assert_eq!(ada.post_from(HOME, &link, &[("new_password", OTHER_PASSWORD)]).status, 303);
    assert_eq!(ada.login_from(HOME, ADA, OTHER_PASSWORD).status, 303);
}

#[test]
fn a_reset_lets_the_owner_sign_in_despite_attempts_by_others() {
    let (server, database) = behind_a_proxy();
    account(&server, &database);
    let guess_from_many_ips = |password: &str| {
        for number in 0..20 {
            let ip = format!("203.0.113.{number}");
            assert_eq!(server.browser().login_from(&ip, ADA, password).status, 422);
        }
        database.db_execute(
            "UPDATE throttles SET free_at = now() + interval '1 hour' WHERE action = 'sign_in_account'",
        );
    };
    guess_from_many_ips(OTHER_PASSWORD);
    let mut ada = server.browser();
    assert_eq!(ada.login_from(HOME, ADA, PASSWORD).status, 429);
    assert_eq!(request_reset(&mut ada, HOME), 303);
    let link = db_mail(&database, "reset_password", 1).text("token").to_owned();
    let fields = [("new_password", OTHER_PASSWORD)];
    assert_eq!(ada.post_from(HOME, &format!("/reset-password/{link}"), &fields).status, 303);
    assert!(!ada.is_signed_in());
    // From any IP address.
    let mut other_browser = server.browser();
    assert_eq!(other_browser.login_from("198.51.100.8", ADA, OTHER_PASSWORD).status, 303);
    // The browser of the reset can sign in despite later attempts.
    guess_from_many_ips(PASSWORD);
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
    let statuses: Vec<u16> =
        (0..17).map(|_| thief.login_from("203.0.113.1", ADA, OTHER_PASSWORD).status).collect();
    assert_eq!(
        statuses[..15],
        [422; 15],
        "ten attempts as the known device, five as an unknown client"
    );
    assert_eq!(statuses[15..], [429; 2]);
    let refused = thief.login_from("203.0.113.1", ADA, PASSWORD);
    assert!((1..=30).contains(&refused.header("retry-after").unwrap().parse::<u64>().unwrap()));
    assert_eq!(home.login_from(HOME, ADA, PASSWORD).status, 303, "as without the cookie");
    // The sign-in issued a new device ID, which the copy does not have. The other device was never affected.
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
    let rate_limit_account = || {
        server.browser().login_from("203.0.113.1", ADA, "not the password");
        database.db_execute(
            "UPDATE throttles SET free_at = now() + interval '1 hour' WHERE action = 'sign_in_account'",
        );
    };
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(home.post("/account/password", &fields).status, 303);
    rate_limit_account();
    assert_eq!(phone.clone().login_from(HOME, ADA, OTHER_PASSWORD).status, 429);
    assert_eq!(home.login_from(HOME, ADA, OTHER_PASSWORD).status, 303);
    // The same for a reset link.
    let copy = home.clone();
    assert_eq!(request_reset(&mut phone, HOME), 303);
    let link = db_mail(&database, "reset_password", 1).text("token").to_owned();
    let fields = [("new_password", "a third password of theirs")];
    assert_eq!(phone.post_from(HOME, &format!("/reset-password/{link}"), &fields).status, 303);
    rate_limit_account();
    let third = "a third password of theirs";
    assert_eq!(copy.clone().login_from(HOME, ADA, third).status, 429);
    assert_eq!(phone.login_from(HOME, ADA, third).status, 303);
}

#[test]
fn a_known_device_can_request_a_reset_while_its_ip_is_rate_limited() {
    let (server, database) = behind_a_proxy();
    let mut home = account(&server, &database);
    home.post("/logout", &[]);
    let statuses: Vec<u16> = (0..6).map(|_| request_reset(&mut server.browser(), HOME)).collect();
    assert_eq!(statuses, [303, 303, 303, 303, 429, 429]);
    let statuses: Vec<u16> = (0..5).map(|_| request_reset(&mut home, HOME)).collect();
    assert_eq!(statuses, [303; 5]);
}

#[test]
fn attempts_by_others_never_block_the_owner_of_an_email_from_registering() {
    let (server, database) = behind_a_proxy();
    let register_from = |number: usize| {
        let ip = format!("203.0.113.{number}");
        (register(&server, &ip, ADA, OTHER_PASSWORD), ip)
    };
    let mut eve: Vec<(Browser, String)> = (0..10).map(register_from).collect();
    until(|| db_mails(&database).len() == 10);
    database.db_execute(
        "UPDATE throttles SET free_at = now() + interval '10 min' WHERE action = 'register_mail'",
    );
    eve.extend((10..12).map(register_from));
    let mut ada = register(&server, HOME, ADA, PASSWORD);
    // The background job has processed the queue: a later registration of another email has its mail.
    register(&server, "192.0.2.1", "bob@example.com", PASSWORD);
    until(|| db_mails(&database).iter().any(|mail| mail.recipient == "bob@example.com"));
    assert_eq!(db_mails(&database).len(), 11, "ten mails to Ada, the rest wait");
    // Wrong codes and requested mails are counted per registration.
    let (browser, ip) = &mut eve[0];
    let codes: Vec<u16> = (0..17)
        .map(|_| browser.post_from(ip, "/verify-email", &[("code", "0000-0000")]).status)
        .collect();
    assert_eq!(codes[..15], [422; 15]);
    assert_eq!(codes[15..], [429; 2]);
    let mails_requested: Vec<u16> =
        (0..7).map(|_| browser.post_from(ip, "/verify-email", &[("again", "on")]).status).collect();
    assert_eq!(mails_requested, [303, 303, 303, 303, 303, 429, 429]);
    // Once the wait ends, the waiting mails are sent, including the owner's.
    database.db_execute("DELETE FROM throttles WHERE action = 'register_mail'");
    until(|| database.db_count("SELECT count(*) FROM registrations WHERE mailed_at IS NULL") == 0);
    let mails = db_mails(&database);
    let own = mails.iter().rfind(|mail| mail.recipient == ADA).unwrap();
    let response = ada.post_from(HOME, "/verify-email", &[("code", own.text("code"))]);
    assert_eq!(response.status, 303, "mails are sent oldest first, so hers is last: {mails:?}");
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
    let guess =
        |ip: &str| server.browser().post_from(ip, &link, &[("password", OTHER_PASSWORD)]).status;
    // An attacker who can read the mail has five guesses from one IP address, shared with the sign-in page.
    let statuses: Vec<u16> = (0..7).map(|_| guess(HOME)).collect();
    assert_eq!(statuses, [422, 422, 422, 422, 422, 429, 429]);
    assert_eq!(server.browser().login_from(HOME, ADA, OTHER_PASSWORD).status, 429);
    // From all IP addresses together: twenty guesses.
    let statuses: Vec<u16> = (0..17).map(|number| guess(&format!("203.0.113.{number}"))).collect();
    assert_eq!(statuses[..15], [422; 15]);
    assert_eq!(statuses[15..], [429; 2]);
    assert_eq!(
        database.db_texts(
            "SELECT DISTINCT details->>'by' FROM audit_events
              WHERE details->>'why' = 'throttled' ORDER BY 1"
        ),
        ["account", "pair"]
    );
    // A session of the account needs no password.
    assert_eq!(ada.post_from(HOME, &link, &[]).status, 303);
}

#[test]
fn a_registration_allows_fifteen_password_guesses_from_all_ips_together() {
    let (server, database) = behind_a_proxy();
    let mut ada = register(&server, HOME, ADA, PASSWORD);
    let mail = db_mail(&database, "verify_registration", 1);
    let link = format!("/verify-email/{}", mail.text("token"));
    let statuses: Vec<u16> = (0..17)
        .map(|number| {
            let fields = [("password", OTHER_PASSWORD)];
            server.browser().post_from(&format!("203.0.113.{number}"), &link, &fields).status
        })
        .collect();
    assert_eq!(statuses[..15], [422; 15]);
    assert_eq!(statuses[15..], [429; 2]);
    let fields = [("code", mail.text("code"))];
    assert_eq!(
        ada.post_from(HOME, "/verify-email", &fields).status,
        303,
        "codes have a separate limit"
    );
}
