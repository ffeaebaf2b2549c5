//! Every way in which a response signs out the browser that receives it.

use crate::support::mail::{db_clear_rate_limits, db_mail};
use crate::support::{
    Browser, Database, OTHER_PASSWORD, PASSWORD, Response, Server, registered, site,
};

type SignOut = fn(&Server, &Database, &mut Browser) -> Response;

fn session_id(database: &Database) -> String {
    database.db_texts("SELECT id::text FROM sessions").remove(0)
}

/// Changes the email of the account, as its owner. Returns the undo link.
fn undo_link(database: &Database, browser: &mut Browser) -> String {
    database.db_execute("UPDATE users SET email_verified_at = now()");
    browser.post("/account/email", &[("email", "new@example.com")]);
    let code = db_mail(database, "change_email", 1).text("code").to_owned();
    let changed = browser.post("/account/email/code", &[("change_code", &code)]);
    assert_eq!(changed.status, 303);
    format!("/undo-email-change/{}", db_mail(database, "email_changed", 1).text("undo_token"))
}

#[test]
fn every_way_of_signing_out_clears_the_cache_of_the_browser() {
    let ways: [(&str, SignOut); 6] = [
        ("the button", |_, _, browser| browser.post("/logout", &[])),
        ("this device in the list of sessions", |_, database, browser| {
            browser.post(&format!("/account/sessions/{}/revoke", session_id(database)), &[])
        }),
        ("deletion of the account", |_, _, browser| browser.post("/account/delete", &[])),
        ("a password reset", |server, database, browser| {
            server.browser().post("/forgot-password", &[("email", "ada@example.com")]);
            let token = db_mail(database, "reset_password", 1).text("token").to_owned();
            browser.post(&format!("/reset-password/{token}"), &[("new_password", OTHER_PASSWORD)])
        }),
        ("the undo of a change of email", |_, database, browser| {
            let link = undo_link(database, browser);
            browser.post(&link, &[])
        }),
        ("another user signs in", |server, database, browser| {
            registered(server, "bob@example.com");
            db_clear_rate_limits(database);
            browser.login("bob@example.com", PASSWORD)
        }),
    ];
    for (what, sign_out) in ways {
        let (server, database) = site();
        let mut ada = registered(&server, "ada@example.com");
        let before = ada.session().unwrap().to_owned();
        let answer = sign_out(&server, &database, &mut ada);
        assert_eq!(answer.status, 303, "{what}: {}", answer.body);
        assert_eq!(answer.header("clear-site-data"), Some("\"cache\""), "{what}");
        assert_ne!(ada.session(), Some(before.as_str()), "{what}");
        let set = answer.cookies();
        assert!(set.iter().any(|cookie| cookie.starts_with("session=")), "{what}: {set:?}");
    }
}

#[test]
fn responses_that_sign_no_one_out_leave_the_cache_alone() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    for answer in [
        ada.get("/account"),
        server.browser().login("ada@example.com", PASSWORD),
        ada.post("/account/sessions/revoke-others", &[]),
        ada.post("/account/password", &fields),
        server.browser().get("/login"),
    ] {
        assert_eq!(answer.header("clear-site-data"), None, "{answer:?}");
    }
    // A reset by a browser that is signed in to another account.
    let mut bob = registered(&server, "bob@example.com");
    bob.post("/forgot-password", &[("email", "ada@example.com")]);
    let token = db_mail(&database, "reset_password", 1).text("token").to_owned();
    let link = format!("/reset-password/{token}");
    let reset = bob.post(&link, &[("new_password", "a third password of hers")]);
    assert_eq!((reset.status, reset.header("clear-site-data")), (303, None));
    assert!(bob.is_signed_in());
}
