//! What links from mails lead to, and what leads to such mails.

use super::{Looker, db_exhaust};
use crate::support::mail::{db_clear_rate_limits, db_mail};
use crate::support::webdriver::Driver;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Response, verified_site};

/// What links from mails lead to, and what leads to such mails.
pub(super) fn look_at_mailed_links(looker: &mut Looker, driver: &Driver) {
    let (server, database) = verified_site();
    let window = driver.scripted_window(&server.addr);
    let long = format!("{}@example.com", "m".repeat(60));
    window.open("/forgot-password");
    looker.look(&window, "forgot-password");
    window.fill("email", "ada");
    window.click("form button");
    window.text("#email-problem");
    looker.look(&window, "forgot-password-errors");
    window.fill("email", "ada@example.com");
    window.click("form button");
    window.wait_for_path("/forgot-password?sent");
    db_exhaust(&database);
    window.open("/forgot-password");
    window.fill("email", "ada@example.com");
    window.click("form button");
    window.text("[role=alert][autofocus]");
    looker.look(&window, "forgot-password-throttled");
    db_clear_rate_limits(&database);
    window.open("/forgot-password?sent");
    looker.look(&window, "forgot-password-sent");
    window.open("/verify-email/nothing-of-ours");
    looker.look(&window, "link-gone");
    window.open("/register");
    window.fill("email", &long);
    window.fill("display_name", "Ada");
    window.fill("password", PASSWORD);
    window.click("form[action='/register'] button");
    window.text("#code-hint");
    looker.look(&window, "verify-code");
    window.fill("code", "0000-0000");
    window.click("form button");
    window.text("#code-problem");
    looker.look(&window, "verify-code-wrong");
    db_mail(&database, "verify_registration", 1);
    window.click(".again button");
    window.text("[role=status]");
    looker.look(&window, "verify-code-again");
    let token = db_mail(&database, "verify_registration", 2).text("token").to_owned();
    window.open(&format!("/verify-email/{token}"));
    looker.look(&window, "verify-link");
    window.fill("password", "not the password");
    window.click("main form button");
    window.text("#password-problem");
    looker.look(&window, "verify-link-wrong");
    db_clear_rate_limits(&database);
    window.fill("password", PASSWORD);
    window.click("main form button");
    window.wait_for_path("/account");
    looker.look(&window, "overview-confirmed");
    window.open("/account/email");
    looker.look(&window, "email");
    window.fill("email", "ada@new.example.com");
    window.click("form[action='/account/email'] button");
    window.text("#change_code-hint");
    looker.look(&window, "email-waiting");
    let change = db_mail(&database, "change_email", 1);
    window.open(&format!("/verify-email/{}", change.text("token")));
    looker.look(&window, "verify-link-change");
    database.db_execute("UPDATE users SET email_verified_at = NULL");
    window.open("/account");
    looker.look(&window, "overview-unconfirmed");
    window.click(".improve button");
    window.text("#verify_code-hint");
    looker.look(&window, "email-unconfirmed");
    window.fill("verify_code", "x");
    window.click("form[action='/account/email/code'] button");
    window.text("#verify_code-problem");
    looker.look(&window, "email-errors");
    db_exhaust(&database);
    window.click("form[action='/account/email/verify'] button");
    window.text("[role=alert][autofocus]");
    looker.look(&window, "email-throttled");
    db_clear_rate_limits(&database);
    let token = db_mail(&database, "verify_email", 1).text("token").to_owned();
    window.open(&format!("/verify-email/{token}"));
    looker.look(&window, "verify-link-signed-in");
    server.browser().post("/forgot-password", &[("email", &long)]);
    let token = db_mail(&database, "reset_password", 1).text("token").to_owned();
    window.open(&format!("/reset-password/{token}"));
    looker.look(&window, "reset-password");
    window.fill("new_password", "12345678");
    window.click("main form button");
    window.text("#new_password-problem");
    looker.look(&window, "reset-password-errors");
    database.db_execute("UPDATE users SET email_verified_at = now()");
    window.open("/account/email");
    window.fill("change_code", change.text("code"));
    window.click("form[action='/account/email/code'] button");
    window.text("[role=status]");
    looker.look(&window, "email-changed");
    let token = db_mail(&database, "email_changed", 1).text("undo_token").to_owned();
    window.open(&format!("/undo-email-change/{token}"));
    looker.look(&window, "undo-email-change");
    // Someone else has the email meanwhile: the page says so, and the link works once they have another one.
    db_take(&database, &long);
    window.click("main form button");
    window.text("[role=alert]");
    looker.look(&window, "undo-email-change-taken");
    database.db_execute("DELETE FROM users WHERE display_name = 'Other'");
    window.click("main form button");
    window.text("#new_password-hint");
    assert!(window.text("[role=status]").contains("Your email is"));
    looker.look(&window, "undo-email-change-done");
    window.fill("new_password", "12345678");
    window.click("main form button");
    window.text("#new_password-problem");
    window.fill("new_password", OTHER_PASSWORD);
    window.click("main form button");
    window.wait_for_path("/login");
    looker.look(&window, "undo-email-change-password-set");
}

/// Keeps the pages of links from mails.
pub(super) fn keep_mailed_links(keep: &mut impl FnMut(Response)) {
    let (server, database) = verified_site();
    let mut ada = server.browser();
    for path in ["/forgot-password", "/forgot-password?sent", "/reset-password/x", "/verify-email"]
    {
        keep(ada.get(path));
    }
    keep(ada.post("/forgot-password", &[("email", "\"><b>")]));
    let fields = [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
    let waits = ada.post("/register", &fields).location().to_owned();
    keep(ada.get(&waits));
    keep(ada.post(&waits, &[("code", "x")]));
    let mail = db_mail(&database, "verify_registration", 1);
    let link = format!("/verify-email/{}", mail.text("token"));
    keep(ada.get(&link));
    keep(ada.post(&link, &[("password", "")]));
    ada.post(&waits, &[("code", mail.text("code"))]);
    keep(ada.get("/account/email"));
    keep(ada.post("/account/email", &[("email", "'")]));
    ada.post("/account/email", &[("email", "ada@new.example.com")]);
    database.db_execute("UPDATE users SET email_verified_at = NULL");
    keep(ada.get("/account"));
    ada.post("/account/email/verify", &[]);
    keep(ada.get("/account/email"));
    keep(ada.post("/account/email/code", &[("change_code", "0000-0000")]));
    let link = format!("/verify-email/{}", db_mail(&database, "change_email", 1).text("token"));
    keep(ada.get(&link));
    keep(server.browser().get(&link));
    let link = format!("/verify-email/{}", db_mail(&database, "verify_email", 1).text("token"));
    keep(ada.get(&link));
    ada.post(&link, &[]);
    ada.post("/forgot-password", &[("email", "ada@example.com")]);
    let link = format!("/reset-password/{}", db_mail(&database, "reset_password", 1).text("token"));
    keep(ada.get(&link));
    keep(ada.post(&link, &[("new_password", "x")]));
    let code = db_mail(&database, "change_email", 1).text("code").to_owned();
    ada.post("/account/email/code", &[("change_code", &code)]);
    let undo = db_mail(&database, "email_changed", 1).text("undo_token").to_owned();
    keep(ada.get(&format!("/undo-email-change/{undo}")));
    db_take(&database, "ada@example.com");
    keep(ada.post(&format!("/undo-email-change/{undo}"), &[]));
    database.db_execute("DELETE FROM users WHERE display_name = 'Other'");
    let form = ada.post(&format!("/undo-email-change/{undo}"), &[]).location().to_owned();
    keep(ada.get(&form));
    keep(ada.post(&form, &[("new_password", "x")]));
}

/// Another account has the email.
fn db_take(database: &Database, email: &str) {
    database.db_execute(&format!(
        "INSERT INTO users (id, email, email_canonical, display_name)
         VALUES (gen_random_uuid(), '{email}', '{email}', 'Other')"
    ));
}
