//! Changing the email of an account: verification, notification of the old email, undo.

use std::sync::Barrier;

use crate::email_undo::form_after;
use crate::support::mail::{Mail, db_clear_rate_limits, db_mail, db_mails};
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

/// A browser signed in to a new account with a verified email.
fn with_verified_email(server: &Server, database: &Database, email: &str) -> Browser {
    let browser = registered(server, email);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    browser
}

fn request_change(browser: &mut Browser, email: &str) {
    let response = browser.post("/account/email", &[("email", email)]);
    assert_eq!(
        (response.status, response.location()),
        (303, "/account/email"),
        "{}",
        response.body
    );
}

fn link(mail: &Mail) -> String {
    format!("/verify-email/{}", mail.text("token"))
}

fn undo(mail: &Mail) -> String {
    format!("/undo-email-change/{}", mail.text("undo_token"))
}

fn email(database: &Database) -> Vec<String> {
    database.db_texts("SELECT email FROM users ORDER BY created_at")
}

#[test]
fn a_new_email_takes_effect_after_verification_and_both_emails_are_notified() {
    let (server, database) = site();
    let mut ada = with_verified_email(&server, &database, "ada@example.com");
    let mut other_device = server.browser();
    other_device.login("ada@example.com", PASSWORD);
    // The domain is stored in lower case.
    request_change(&mut ada, "Ada@New.example.com");
    let page = ada.get("/account/email").body;
    assert!(page.contains("Ada@new.example.com") && page.contains("ada@example.com"));
    assert_eq!(email(&database), ["ada@example.com"]);
    let mail = db_mail(&database, "change_email", 1);
    assert_eq!(mail.recipient, "Ada@new.example.com");
    // The link alone is not enough: it requires the session or the password.
    let page = server.browser().open(&link(&mail));
    assert!(page.body.contains("name=\"password\""));
    assert_eq!(server.browser().post(&link(&mail), &[("password", OTHER_PASSWORD)]).status, 422);
    assert_eq!(email(&database), ["ada@example.com"]);
    db_clear_rate_limits(&database);
    assert_eq!(ada.post(&link(&mail), &[]).status, 303);
    assert_eq!(email(&database), ["Ada@new.example.com"]);
    assert!(ada.is_signed_in() && !other_device.is_signed_in());
    assert!(ada.get("/account/profile").body.contains("Ada@new.example.com"));
    let notice = db_mail(&database, "email_changed", 1);
    assert_eq!(
        (notice.recipient.as_str(), notice.text("new_email")),
        ("ada@example.com", "Ada@new.example.com")
    );
    assert_eq!(db_mail(&database, "email_confirmed", 1).recipient, "Ada@new.example.com");
    assert_eq!(server.browser().login("ada@example.com", PASSWORD).status, 422);
    assert_eq!(server.browser().login("ada@new.example.com", PASSWORD).status, 303);
    let events = database.db_texts(
        "SELECT event || details::text FROM audit_events WHERE event LIKE 'email%' ORDER BY id",
    );
    assert_eq!(
        events,
        ["email_change_requested{}", "email_changed{\"by\": \"link\", \"ended_sessions\": 1}"]
    );
}

#[test]
fn concurrent_changes_never_confirm_the_wrong_email() {
    let (server, database) = site();
    let mut ada = with_verified_email(&server, &database, "ada@example.com");
    // Sequential: the link and the code of the first change are invalid, and neither confirms the second.
    request_change(&mut ada, "one@example.com");
    let one = db_mail(&database, "change_email", 1);
    request_change(&mut ada, "two@example.com");
    let two = db_mail(&database, "change_email", 2);
    assert_eq!(ada.post(&link(&one), &[]).status, 410);
    assert_eq!(ada.post("/account/email/code", &[("change_code", one.text("code"))]).status, 422);
    assert_eq!(email(&database), ["ada@example.com"]);
    assert_eq!(ada.post(&link(&two), &[]).status, 303);
    assert_eq!(email(&database), ["two@example.com"]);
    // Concurrent: the email that is confirmed is always the recipient of the mail that was used.
    for round in 0..20 {
        db_clear_rate_limits(&database);
        let before = db_mails(&database).len();
        let emails = [format!("a{round}@example.com"), format!("b{round}@example.com")];
        std::thread::scope(|scope| {
            for new_email in &emails {
                let mut browser = ada.clone();
                scope.spawn(move || request_change(&mut browser, new_email));
            }
        });
        let mails = db_mails(&database).split_off(before);
        assert_eq!(mails.len(), 2);
        assert_eq!(
            database.db_count("SELECT count(*) FROM email_tokens WHERE purpose = 'change_email'"),
            1
        );
        let responses: Vec<_> = std::thread::scope(|scope| {
            let both: Vec<_> = mails
                .iter()
                .map(|mail| {
                    let mut browser = ada.clone();
                    scope.spawn(move || {
                        let response = browser.post(&link(mail), &[]);
                        (response.status, response.location().to_owned(), browser)
                    })
                })
                .collect();
            both.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winner = responses.iter().position(|(_, to, _)| to == "/account/email").unwrap();
        // The other link is invalid. The cookie sent with it is invalid as well once the session has a new
        // secret: a request that arrives after that is redirected to sign-in.
        let (status, to, _) = &responses[1 - winner];
        assert!(
            [410, 422].contains(status) || to.starts_with("/login"),
            "round {round}: {status} {to}"
        );
        assert_eq!(email(&database), [mails[winner].recipient.as_str()], "round {round}");
        ada = responses[winner].2.clone();
    }
}

#[test]
fn thirty_concurrent_uses_of_one_link_or_code_change_the_email_once() {
    let (server, database) = site();
    let mut ada = with_verified_email(&server, &database, "ada@example.com");
    for (round, by_code) in [false, true].into_iter().enumerate() {
        request_change(&mut ada.clone(), &format!("ada{round}@example.com"));
        let mail = db_mail(&database, "change_email", round + 1);
        let responses: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..30)
                .map(|_| {
                    let (mut browser, mail) = (ada.clone(), &mail);
                    scope.spawn(move || {
                        let response = if by_code {
                            browser
                                .post("/account/email/code", &[("change_code", mail.text("code"))])
                        } else {
                            browser.post(&link(mail), &[])
                        };
                        (response.status, response.location().to_owned(), browser)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // A request with the replaced cookie is redirected to sign-in.
        let done = |location: &str| location == "/account/email";
        let winners: Vec<_> = responses.iter().filter(|(_, to, _)| done(to)).collect();
        assert_eq!(winners.len(), 1, "{responses:?}");
        for (status, to, _) in &responses {
            assert!(
                [410, 422, 429].contains(status) || done(to) || to.starts_with("/login"),
                "round {round}: {status} {to}"
            );
        }
        ada = winners[0].2.clone();
        assert_eq!(email(&database), [format!("ada{round}@example.com")]);
        db_mail(&database, "email_changed", round + 1);
        db_clear_rate_limits(&database);
    }
}

#[test]
fn a_code_is_valid_for_five_attempts_and_only_for_its_own_email() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    request_change(&mut ada, "ada@new.example.com");
    let own = db_mail(&database, "verify_email", 1).text("code").to_owned();
    let new = db_mail(&database, "change_email", 1).text("code").to_owned();
    assert_eq!(ada.post("/account/email/code", &[("change_code", &own)]).status, 422);
    assert_eq!(ada.post("/account/email/code", &[("verify_code", &new)]).status, 422);
    for _ in 0..4 {
        db_clear_rate_limits(&database);
        let response = ada.post("/account/email/code", &[("change_code", "0000-0000")]);
        assert!(response.body.contains("That code doesn&#39;t match"));
    }
    db_clear_rate_limits(&database);
    let response = ada.post("/account/email/code", &[("change_code", &new)]);
    assert!(response.status == 422 && response.body.contains("That code no longer works."));
    assert_eq!(email(&database), ["ada@example.com"]);
    assert_eq!(ada.post("/account/email/code", &[("verify_code", &own)]).status, 303);
}

#[test]
fn an_email_of_another_account_gets_the_same_response_and_its_owner_is_notified() {
    let (server, database) = site();
    registered(&server, "bob@example.com");
    database.db_execute("UPDATE users SET email_verified_at = now()");
    let mut pages = Vec::new();
    for (number, new_email) in ["bob@example.com", "new@example.com"].into_iter().enumerate() {
        let mut ada = registered(&server, &format!("ada{number}@example.com"));
        request_change(&mut ada, new_email);
        ada.get("/account/email");
        let code = ada.post("/account/email/code", &[("change_code", "0000-0000")]);
        assert_eq!(code.status, 422);
        let page = ada.get("/account/email");
        let id = page.header("x-request-id").unwrap().to_owned();
        let normalized = |text: &str| {
            text.replace(new_email, "EMAIL")
                .replace(&id, "ID")
                .replace(&format!("ada{number}"), "ada")
        };
        let code_id = code.header("x-request-id").unwrap().to_owned();
        let (page, code) = (page.body_without_tokens(), code.body_without_tokens());
        pages.push((normalized(&page), normalized(&code).replace(&code_id, "ID")));
    }
    assert_eq!(pages[0], pages[1]);
    assert_eq!(db_mail(&database, "already_registered", 1).recipient, "bob@example.com");
    assert_eq!(db_mail(&database, "change_email", 1).recipient, "new@example.com");
}

#[test]
fn an_email_registered_in_the_meantime_stays_with_its_account() {
    let (server, database) = site();
    let mut ada = with_verified_email(&server, &database, "ada@example.com");
    request_change(&mut ada, "bob@example.com");
    let mail = db_mail(&database, "change_email", 1);
    registered(&server, "bob@example.com");
    assert_eq!(ada.post(&link(&mail), &[]).status, 410);
    assert_eq!(email(&database), ["ada@example.com", "bob@example.com"]);
}

#[test]
fn the_old_email_can_undo_a_change_for_a_week_and_every_session_ends() {
    let (server, database) = site();
    let mut ada = with_verified_email(&server, &database, "ada@example.com");
    // A thief who knows Ada's password changes her email twice and her password.
    let mut thief = server.browser();
    thief.login("ada@example.com", PASSWORD);
    for (number, new_email) in ["thief@example.com", "second@example.com"].into_iter().enumerate() {
        request_change(&mut thief, new_email);
        let code = db_mail(&database, "change_email", number + 1).text("code").to_owned();
        assert_eq!(thief.post("/account/email/code", &[("change_code", &code)]).status, 303);
    }
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(thief.post("/account/password", &fields).status, 303);
    thief.post("/forgot-password", &[("email", "second@example.com")]);
    let thiefs_reset = db_mail(&database, "reset_password", 1);
    request_change(&mut thief, "third@example.com");
    let mails = db_mails(&database);
    let notices: Vec<&Mail> = mails.iter().filter(|mail| mail.kind == "email_changed").collect();
    assert_eq!(notices[0].recipient, "ada@example.com");
    // Undoing the second change leaves Ada's undo link valid.
    assert_eq!(thief.post(&undo(notices[1]), &[]).location(), "/reset-password");
    let form = form_after(&undo(notices[1]));
    assert_eq!(thief.post(&form, &[("new_password", OTHER_PASSWORD)]).location(), "/login");
    assert_eq!(email(&database), ["thief@example.com"]);
    db_clear_rate_limits(&database);
    // Six days and 23 hours later.
    database.db_execute(
        "UPDATE email_tokens SET expires_at = expires_at - interval '6 days 23 hours', created_at = created_at - interval '6 days 23 hours'",
    );
    for _ in 0..10 {
        assert_eq!(server.browser().open(&undo(notices[0])).status, 200);
        assert_eq!(server.browser().send("HEAD", &undo(notices[0]), &[], "").status, 303);
    }
    assert_eq!(email(&database), ["thief@example.com"]);
    thief.login("thief@example.com", OTHER_PASSWORD);
    assert!(thief.is_signed_in());
    let response = server.browser().post(&undo(notices[0]), &[]);
    assert_eq!((response.status, response.location()), (303, "/reset-password"));
    let form = form_after(&undo(notices[0]));
    assert_eq!(email(&database), ["ada@example.com"]);
    // Both emails are notified. The thief's undo had already removed the second email.
    assert_eq!(db_mail(&database, "address_removed", 2).recipient, "thief@example.com");
    let confirmed = db_mails(&database);
    let confirmed = confirmed.iter().rfind(|mail| mail.kind == "email_confirmed");
    assert_eq!(confirmed.map(|mail| mail.recipient.as_str()), Some("ada@example.com"));
    assert!(!thief.is_signed_in() && !ada.is_signed_in());
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
    assert_eq!(
        database.db_texts("SELECT purpose || ' ' || email FROM email_tokens"),
        ["reset_password ada@example.com"],
        "every link of the thief is deleted"
    );
    let reset = format!("/reset-password/{}", thiefs_reset.text("token"));
    assert_eq!(thief.post(&reset, &[("new_password", OTHER_PASSWORD)]).status, 410);
    // Ada sets a new password.
    assert_eq!(thief.login("ada@example.com", OTHER_PASSWORD).status, 422);
    db_clear_rate_limits(&database);
    assert_eq!(ada.post(&form, &[("new_password", "a third password of hers")]).status, 303);
    assert_eq!(server.browser().post(&undo(notices[0]), &[]).status, 410);
    assert_eq!(thief.login("ada@example.com", OTHER_PASSWORD).status, 422);
    assert_eq!(ada.login("ada@example.com", "a third password of hers").status, 303);
}

#[test]
fn thirty_concurrent_undos_undo_once_and_an_expired_link_does_nothing() {
    let (server, database) = site();
    let mut ada = with_verified_email(&server, &database, "ada@example.com");
    for round in 0..2 {
        db_clear_rate_limits(&database);
        request_change(&mut ada, &format!("new{round}@example.com"));
        let code = db_mail(&database, "change_email", round + 1).text("code").to_owned();
        ada.post("/account/email/code", &[("change_code", &code)]);
        let mail = db_mail(&database, "email_changed", round + 1);
        if round == 1 {
            database.db_execute("UPDATE email_tokens SET expires_at = now()");
            assert_eq!(ada.get(&undo(&mail)).status, 410);
            assert_eq!(ada.post(&undo(&mail), &[]).status, 410);
            assert_eq!(email(&database), ["new1@example.com"]);
            return;
        }
        let mut responses: Vec<(u16, String)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..30)
                .map(|_| {
                    let (mut browser, mail) = (server.browser(), &mail);
                    scope.spawn(move || {
                        let response = browser.post(&undo(mail), &[]);
                        (response.status, response.location().to_owned())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // Some attempts are rate limited; every other one redirects to the same form.
        responses.retain(|(status, _)| *status != 429);
        let form = (303, "/reset-password".to_owned());
        assert!(responses.iter().all(|response| *response == form), "{responses:?}");
        assert_eq!(email(&database), ["ada@example.com"]);
        db_mail(&database, "address_removed", 1);
        assert_eq!(
            database
                .db_count("SELECT count(*) FROM audit_events WHERE event = 'email_change_undone'"),
            1
        );
        db_clear_rate_limits(&database);
        let form = form_after(&undo(&mail));
        assert_eq!(ada.post(&form, &[("new_password", PASSWORD)]).status, 303);
        ada.login("ada@example.com", PASSWORD);
    }
}

#[test]
fn an_unverified_old_email_gets_no_undo_link() {
    let (server, database) = site();
    // A typo: the email belongs to another person.
    let mut ada = registered(&server, "adda@example.com");
    request_change(&mut ada, "ada@example.com");
    let code = db_mail(&database, "change_email", 1).text("code").to_owned();
    assert_eq!(ada.post("/account/email/code", &[("change_code", &code)]).status, 303);
    assert_eq!(db_mail(&database, "email_confirmed", 1).recipient, "ada@example.com");
    // The old email gets no mail but the request to verify it.
    let mails = db_mails(&database);
    let to_old: Vec<&str> = mails
        .iter()
        .filter(|mail| mail.recipient == "adda@example.com")
        .map(|mail| mail.kind.as_str())
        .collect();
    assert_eq!(to_old, ["verify_email"]);
    assert_eq!(database.db_count("SELECT count(*) FROM email_tokens"), 0);
}

#[test]
fn an_email_with_an_undo_link_cannot_be_registered_without_verification() {
    let (server, database) = site();
    let mut ada = with_verified_email(&server, &database, "ada@example.com");
    request_change(&mut ada, "new@example.com");
    let code = db_mail(&database, "change_email", 1).text("code").to_owned();
    ada.post("/account/email/code", &[("change_code", &code)]);
    let fields = [("email", "ada@example.com"), ("display_name", "X"), ("password", PASSWORD)];
    assert_eq!(server.browser().post("/register", &fields).status, 422);
    let mail = db_mail(&database, "email_changed", 1);
    assert_eq!(server.browser().post(&undo(&mail), &[]).status, 303);
    assert_eq!(email(&database), ["ada@example.com"]);
}

#[test]
fn an_email_change_requires_recent_authentication() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    database.db_execute("UPDATE sessions SET authenticated_at = now() - interval '16 minutes'");
    let response = ada.post("/account/email", &[("email", "new@example.com")]);
    assert_eq!(response.status, 403, "{}", response.body);
    assert!(response.body.contains("name=\"password\""), "it asks for the password");
    assert_eq!(
        database.db_count("SELECT count(*) FROM email_tokens WHERE purpose = 'change_email'"),
        0
    );
}

#[test]
fn two_accounts_requesting_each_others_email_do_not_deadlock() {
    let (server, database) = site();
    let emails = ["ada@example.com", "bob@example.com"];
    let browsers = emails.map(|email| registered(&server, email));
    for round in 0..30 {
        db_clear_rate_limits(&database);
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            for (browser, email) in browsers.iter().zip(emails.iter().rev()) {
                let (mut browser, barrier) = (browser.clone(), &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let response = browser.post("/account/email", &[("email", email)]);
                    assert_eq!(response.status, 303, "round {round}: {response:?}");
                });
            }
        });
    }
    let log = server.log();
    assert!(!log.contains("deadlock"), "{log}");
}
