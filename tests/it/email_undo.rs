//! Undoing an email change gives the account back to its owner: what is invalidated, what stays, and the new
//! password.

use frontdesk::crypto::secret::Secret;
use frontdesk::user::email::undo_change::reset_secret;

use crate::command_line::run;
use crate::support::breakpoint::Breakpoint;
use crate::support::mail::{Mail, db_clear_rate_limits, db_mail, db_mails};
use crate::support::{
    Browser, Database, OTHER_PASSWORD, PASSWORD, Response, Server, registered, site,
};

const OLD: &str = "ada@example.com";
const NEW: &str = "thief@example.com";
const LAST: &str = "a third password of hers";

/// A site where Ada's email is verified, and a thief is signed in to her account.
fn compromised_account() -> (Server, Database, Browser) {
    let (server, database) = site();
    registered(&server, OLD);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    database.db_execute("DELETE FROM email_tokens");
    let mut thief = server.browser();
    assert_eq!(thief.login(OLD, PASSWORD).status, 303);
    (server, database, thief)
}

/// Changes the email and confirms it by code. Returns the undo link that was mailed to the old email.
fn change(database: &Database, browser: &mut Browser, email: &str) -> String {
    let count = |kind: &str| db_mails(database).iter().filter(|mail| mail.kind == kind).count();
    let (requested, changed) = (count("change_email"), count("email_changed"));
    assert_eq!(browser.post("/account/email", &[("email", email)]).status, 303);
    let code = db_mail(database, "change_email", requested + 1).text("code").to_owned();
    let response = browser.post("/account/email/code", &[("change_code", &code)]);
    assert_eq!(response.status, 303, "{}", response.body);
    db_clear_rate_limits(database);
    format!(
        "/undo-email-change/{}",
        db_mail(database, "email_changed", changed + 1).text("undo_token")
    )
}

/// The link of the form for the new password after the link `undo` was used.
pub fn form_after(undo: &str) -> String {
    let token = undo.strip_prefix("/undo-email-change/").and_then(Secret::parse).unwrap();
    format!("/reset-password/{}", reset_secret(&token).reveal())
}

/// Submits an undo link. Returns the link and the page of the form for the new password.
fn submit_undo(browser: &mut Browser, undo: &str) -> (String, Response) {
    let response = browser.post(undo, &[]);
    assert_eq!(response.status, 303, "{}", response.body);
    assert_eq!(response.location(), "/reset-password");
    let page = browser.get("/reset-password");
    assert_eq!(page.status, 200);
    (form_after(undo), page)
}

fn set_password(browser: &mut Browser, form: &str, password: &str) -> u16 {
    browser.post(form, &[("new_password", password)]).status
}

fn reset_link(database: &Database, server: &Server, email: &str, count: usize) -> String {
    server.browser().post("/forgot-password", &[("email", email)]);
    let mail: Mail = db_mail(database, "reset_password", count);
    assert_eq!(mail.recipient, email);
    format!("/reset-password/{}", mail.text("token"))
}

fn email(database: &Database) -> String {
    database.db_texts("SELECT email FROM users WHERE display_name = 'ADA'").remove(0)
}

#[test]
fn an_undo_invalidates_password_and_sessions_and_asks_for_a_new_password() {
    let (server, database, mut thief) = compromised_account();
    let undo = change(&database, &mut thief, NEW);
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(thief.post("/account/password", &fields).status, 303);
    let mut ada = server.browser();
    let (form, page) = submit_undo(&mut ada, &undo);
    assert!(page.body.contains("Your email is <bdi>ada@example.com</bdi> again"), "{}", page.body);
    assert!(!thief.is_signed_in());
    for (email, password) in
        [(OLD, PASSWORD), (OLD, OTHER_PASSWORD), (NEW, PASSWORD), (NEW, OTHER_PASSWORD)]
    {
        db_clear_rate_limits(&database);
        assert_eq!(thief.login(email, password).status, 422, "{email} {password}");
    }
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
    // A typo and a reload, then the new password; the form does not ask for the email.
    assert_eq!(set_password(&mut ada, &form, "short"), 422);
    assert!(ada.get("/reset-password").body.contains("value=\"ada@example.com\""));
    assert_eq!(set_password(&mut ada, &form, LAST), 303);
    assert_eq!(set_password(&mut server.browser(), &form, OTHER_PASSWORD), 410, "once");
    assert_eq!(ada.login(OLD, LAST).status, 303);
    assert!(ada.is_signed_in());
    let restored = db_mails(&database);
    let restored = restored.iter().find(|mail| mail.data["restored"] == true).unwrap();
    assert_eq!(restored.recipient, OLD);
    assert_eq!(db_mail(&database, "address_removed", 1).recipient, NEW);
    let page = ada.get("/account/activity").body;
    assert!(page.contains("Password stopped working: email change undone"));
}

#[test]
fn a_concurrent_sign_in_with_the_old_password_creates_no_session() {
    let (server, database, mut thief) = compromised_account();
    let undo = change(&database, &mut thief, NEW);
    let mut pending = server.browser();
    // The old password is valid until the undo commits.
    let breakpoint = Breakpoint::db_at(&database, ("users", "CONSTRAINT AFTER UPDATE"));
    let response = std::thread::scope(|scope| {
        let undoes = scope.spawn(|| server.browser().post(&undo, &[]));
        breakpoint.until_reached(1);
        let signs_in = scope.spawn(|| pending.login(NEW, PASSWORD));
        let waiting = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ILIKE '%FOR SHARE%'";
        crate::support::breakpoint::until(|| database.db_count(waiting) == 1);
        breakpoint.release();
        assert_eq!(undoes.join().unwrap().status, 303);
        signs_in.join().unwrap()
    });
    assert_eq!(response.status, 422);
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
}

#[test]
fn a_second_click_opens_the_same_form_and_repeats_nothing() {
    let (server, database, mut thief) = compromised_account();
    let undo = change(&database, &mut thief, NEW);
    let mut ada = server.browser();
    let (form, _) = submit_undo(&mut ada, &undo);
    let hash = "SELECT password_changed_at::text FROM users";
    let before = database.db_texts(hash);
    let (again, page) = submit_undo(&mut ada, &undo);
    assert_eq!(again, form);
    assert!(page.body.contains("Your email is restored"), "{}", page.body);
    let opened = server.browser().get(&undo);
    assert_eq!((opened.status, opened.location()), (303, "/reset-password"));
    assert_eq!(database.db_texts(hash), before);
    let events = "SELECT count(*) FROM audit_events WHERE event = 'email_change_undone'";
    assert_eq!(database.db_count(events), 1);
    assert_eq!(set_password(&mut ada, &form, LAST), 303);
    for response in [server.browser().get(&undo), server.browser().post(&undo, &[])] {
        assert_eq!(response.status, 410, "invalid once the new password is set");
    }
    assert_eq!(server.browser().login(OLD, LAST).status, 303);
}

#[test]
fn after_the_form_expires_the_password_can_be_reset_through_the_old_email() {
    let (server, database, mut thief) = compromised_account();
    let undo = change(&database, &mut thief, NEW);
    let (form, _) = submit_undo(&mut server.browser(), &undo);
    database
        .db_execute("UPDATE email_tokens SET expires_at = now() WHERE purpose = 'reset_password'");
    assert_eq!(server.browser().get(&form).status, 410);
    assert_eq!(server.browser().get(&undo).status, 410);
    let link = reset_link(&database, &server, OLD, 1);
    let mut ada = server.browser();
    assert_eq!(set_password(&mut ada, &link, LAST), 303);
    assert_eq!(ada.login(OLD, LAST).status, 303);
}

/// Whether a link is valid, by the status of its page.
fn is_valid(server: &Server, path: &str) -> bool {
    match server.browser().open(path).status {
        200 => true,
        410 => false,
        other => panic!("{path}: {other}"),
    }
}

#[test]
fn an_undo_keeps_the_links_mailed_before_the_change_and_invalidates_the_rest() {
    let (server, database, mut thief) = compromised_account();
    let link = |kind: &str, count: usize, name: &str| {
        format!("/verify-email/{}", db_mail(&database, kind, count).text(name))
    };
    let earlier = change(&database, &mut thief, "first@example.com");
    thief.login("first@example.com", PASSWORD);
    // Mailed to the email that the undo restores.
    let before = reset_link(&database, &server, "first@example.com", 1);
    let undo = change(&database, &mut thief, NEW);
    assert!(!is_valid(&server, &before), "it is valid for no other email");
    assert_eq!(
        set_password(&mut server.browser(), &before, OTHER_PASSWORD),
        410,
        "the attempt does not use it up"
    );
    let to_new_email = reset_link(&database, &server, NEW, 2);
    assert!(is_valid(&server, &to_new_email));
    database.db_execute("UPDATE users SET email_verified_at = NULL");
    thief.post("/account/email/verify", &[]);
    let verify = link("verify_email", 2, "token");
    database.db_execute("UPDATE users SET email_verified_at = now()");
    let later = change(&database, &mut thief, "last@example.com");
    thief.post("/account/email", &[("email", "other@example.com")]);
    let pending = link("change_email", 4, "token");
    db_clear_rate_limits(&database);

    submit_undo(&mut server.browser(), &undo);
    assert_eq!(email(&database), "first@example.com");
    for (what, path, stays_valid) in [
        ("reset link to the restored email", &before, true),
        ("undo link of an earlier change", &earlier, true),
        ("reset link to the new email", &to_new_email, false),
        ("undo link of a later change", &later, false),
        ("verification link", &verify, false),
        ("change link", &pending, false),
    ] {
        assert_eq!(is_valid(&server, path), stays_valid, "{what}");
    }
    assert_eq!(set_password(&mut server.browser(), &to_new_email, OTHER_PASSWORD), 410);
    let mut ada = server.browser();
    assert_eq!(set_password(&mut ada, &before, LAST), 303);
    assert_eq!(ada.login("first@example.com", LAST).status, 303);
}

#[test]
fn a_reset_link_to_the_new_email_does_not_replace_the_one_to_the_old_email() {
    let (server, database, mut thief) = compromised_account();
    let before = reset_link(&database, &server, OLD, 1);
    let undo = change(&database, &mut thief, NEW);
    reset_link(&database, &server, NEW, 2);
    let newer = reset_link(&database, &server, NEW, 3);
    assert!(is_valid(&server, &newer) && !is_valid(&server, &before));
    let (form, _) = submit_undo(&mut server.browser(), &undo);
    assert!(is_valid(&server, &before) && is_valid(&server, &form) && !is_valid(&server, &newer));
    let rows = "SELECT count(*) FROM email_tokens";
    assert_eq!(database.db_count(rows), 2);
    // A newer reset link to the same email invalidates both.
    let newest = reset_link(&database, &server, OLD, 4);
    assert!(is_valid(&server, &newest) && !is_valid(&server, &before) && !is_valid(&server, &form));
    assert_eq!(database.db_count(rows), 1);
}

#[test]
fn chained_changes_can_be_undone_in_any_order_and_the_earliest_email_wins() {
    // The order in which three changes are undone, by index, each with the email that it restores. None: the
    // link is invalid.
    type Chain<'a> = &'a [(usize, Option<&'a str>)];
    let emails = [OLD, "one@example.com", "two@example.com", "three@example.com"];
    let orders: [Chain<'_>; 5] = [
        &[(0, Some(emails[0])), (1, None), (2, None)],
        &[(2, Some(emails[2])), (1, Some(emails[1])), (0, Some(emails[0]))],
        &[(1, Some(emails[1])), (2, None), (0, Some(emails[0]))],
        &[(2, Some(emails[2])), (0, Some(emails[0])), (1, None)],
        &[(1, Some(emails[1])), (0, Some(emails[0])), (2, None)],
    ];
    for order in orders {
        let (server, database, mut thief) = compromised_account();
        let undos: Vec<String> =
            emails[1..].iter().map(|email| change(&database, &mut thief, email)).collect();
        let mut forms = Vec::new();
        for (index, expected) in order {
            db_clear_rate_limits(&database);
            let mut owner = server.browser();
            match expected {
                Some(expected) => {
                    forms.push(submit_undo(&mut owner, &undos[*index]).0);
                    assert_eq!(email(&database), **expected, "{order:?}");
                }
                None => assert_eq!(owner.post(&undos[*index], &[]).status, 410, "{order:?}"),
            }
        }
        let last = forms.pop().unwrap();
        for form in &forms {
            assert_eq!(set_password(&mut server.browser(), form, OTHER_PASSWORD), 410, "{order:?}");
        }
        let mut ada = server.browser();
        assert_eq!(set_password(&mut ada, &last, LAST), 303, "{order:?}");
        assert_eq!(ada.login(&email(&database), LAST).status, 303, "{order:?}");
    }
}

#[test]
fn an_undo_cancels_only_a_deletion_requested_after_the_change() {
    for after in [true, false] {
        let (server, database, mut thief) = compromised_account();
        let request_deletion = |thief: &mut Browser| {
            assert_eq!(thief.post("/account/delete", &[]).status, 303);
        };
        if !after {
            request_deletion(&mut thief);
            thief.login(OLD, PASSWORD);
        }
        let undo = change(&database, &mut thief, NEW);
        if after {
            request_deletion(&mut thief);
        }
        submit_undo(&mut server.browser(), &undo);
        let due = database.db_count("SELECT count(deletion_due_at) FROM users");
        assert_eq!(due, i64::from(!after));
        let events = "SELECT count(*) FROM audit_events WHERE event = 'deletion_canceled'";
        assert_eq!(database.db_count(events), i64::from(after));
        let mails = db_mails(&database);
        // One mail reports both that the email is restored and that the deletion is canceled.
        let canceled = mails.iter().filter(|mail| mail.data["deletion_canceled"] == true);
        let canceled: Vec<&str> = canceled.map(|mail| mail.recipient.as_str()).collect();
        assert_eq!(canceled, if after { vec![OLD] } else { vec![] });
        assert!(mails.iter().all(|mail| mail.kind != "deletion_canceled"));
    }
}

#[test]
fn an_undo_to_an_email_in_use_gets_409_and_works_later() {
    let (server, database, mut thief) = compromised_account();
    let undo = change(&database, &mut thief, NEW);
    let mut bob = registered(&server, "bob@example.com");
    database.db_execute("UPDATE users SET email_verified_at = now()");
    change(&database, &mut bob, OLD);
    let before = database.db_texts("SELECT u::text FROM users u ORDER BY id");
    for _ in 0..2 {
        let response = server.browser().post(&undo, &[]);
        assert_eq!(response.status, 409);
        assert!(response.body.contains("another account uses"), "{}", response.body);
        assert!(response.body.contains("this link still works"));
    }
    assert!(thief.is_signed_in() && bob.is_signed_in());
    assert_eq!(database.db_texts("SELECT u::text FROM users u ORDER BY id"), before);
    assert!(is_valid(&server, &undo));
    change(&database, &mut bob, "bob@new.example.com");
    let mut ada = server.browser();
    let (form, _) = submit_undo(&mut ada, &undo);
    assert_eq!(set_password(&mut ada, &form, LAST), 303);
    assert_eq!(ada.login(OLD, LAST).status, 303);
    assert!(bob.is_signed_in());
}

#[test]
fn an_undo_sends_nothing_to_an_email_that_was_never_verified() {
    let (server, database, _) = compromised_account();
    assert_eq!(run(&database, &["user", "set-email", OLD, NEW], "").code, 0);
    let token = db_mail(&database, "email_changed", 1).text("undo_token").to_owned();
    submit_undo(&mut server.browser(), &format!("/undo-email-change/{token}"));
    assert_eq!(email(&database), OLD);
    assert!(db_mails(&database).iter().all(|mail| mail.kind != "address_removed"));
}

#[test]
fn an_undo_in_a_browser_that_is_signed_in_to_the_account_signs_it_out() {
    let (_server, database, mut thief) = compromised_account();
    let undo = change(&database, &mut thief, NEW);
    submit_undo(&mut thief, &undo);
    assert!(thief.session().is_none() && !thief.is_signed_in());
}

#[test]
fn an_undo_of_a_change_that_was_changed_back_still_invalidates_the_password() {
    let (server, database, mut thief) = compromised_account();
    let undo = change(&database, &mut thief, NEW);
    change(&database, &mut thief, OLD);
    let (form, _) = submit_undo(&mut server.browser(), &undo);
    assert_eq!(email(&database), OLD);
    assert_eq!(thief.login(OLD, PASSWORD).status, 422);
    assert!(db_mails(&database).iter().all(|mail| mail.kind != "address_removed"));
    assert_eq!(set_password(&mut server.browser(), &form, LAST), 303);
}

#[test]
fn earlier_devices_are_not_known_after_an_undo() {
    let (server, database, mut thief) = compromised_account();
    let undo = change(&database, &mut thief, NEW);
    let mut ada = server.browser();
    let (form, _) = submit_undo(&mut ada, &undo);
    assert_eq!(set_password(&mut ada, &form, LAST), 303);
    let notices = |database: &Database| {
        db_mails(database).iter().filter(|mail| mail.kind == "new_device").count()
    };
    let before = notices(&database);
    assert_eq!(ada.login(OLD, LAST).status, 303);
    assert_eq!(notices(&database), before, "the device on which the password was set is known");
    assert_eq!(thief.login(OLD, LAST).status, 303);
    assert_eq!(notices(&database), before + 1, "the thief's device is not known");
}

#[test]
fn an_undo_does_nothing_for_a_disabled_account() {
    let (server, database, mut thief) = compromised_account();
    let undo = change(&database, &mut thief, NEW);
    database.db_execute("UPDATE users SET disabled_at = now()");
    assert_eq!(server.browser().post(&undo, &[]).status, 410);
    database.db_execute("UPDATE users SET disabled_at = NULL");
    let (form, _) = submit_undo(&mut server.browser(), &undo);
    database.db_execute("UPDATE users SET disabled_at = now()");
    assert_eq!(set_password(&mut server.browser(), &form, LAST), 410);
    assert_eq!(server.browser().get(&undo).status, 410);
}
