//! The pages of mailed links, and the pages that request such mails.

use super::{PageChecker, db_rate_limit_all};
use crate::command_line::run;
use crate::support::mail::{db_clear_rate_limits, db_mail};
use crate::support::webdriver::Driver;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Response, verified_site};

pub(super) fn check_mailed_links(checker: &mut PageChecker, driver: &Driver) {
    let (server, database) = verified_site();
    let window = driver.scripted_window(&server.addr);
    let long = format!("{}@example.com", "m".repeat(60));
    window.open("/forgot-password");
    checker.check(&window, "forgot-password");
    window.fill("email", "ada");
    window.click("form button");
    window.text("#email-problem");
    checker.check(&window, "forgot-password-errors");
    window.fill("email", "ada@example.com");
    window.click("form button");
    window.wait_for_path("/forgot-password?sent");
    db_rate_limit_all(&database);
    window.open("/forgot-password");
    window.fill("email", "ada@example.com");
    window.click("form button");
    window.text("[role=alert][autofocus]");
    checker.check(&window, "forgot-password-throttled");
    db_clear_rate_limits(&database);
    window.open("/forgot-password?sent");
    checker.check(&window, "forgot-password-sent");
    window.open("/verify-email/nothing-of-ours");
    checker.check(&window, "link-gone");
    window.open("/reset-password");
    checker.check(&window, "link-unopened");
    window.open("/register");
    window.fill("email", &long);
    window.fill("display_name", "Ada");
    window.fill("password", PASSWORD);
    window.click("form[action='/register'] button");
    window.text("#code-hint");
    checker.check(&window, "verify-code");
    window.fill("code", "0000-0000");
    window.click("form button");
    window.text("#code-problem");
    checker.check(&window, "verify-code-wrong");
    db_mail(&database, "verify_registration", 1);
    window.click(".again button");
    window.text("[role=status]");
    checker.check(&window, "verify-code-again");
    let token = db_mail(&database, "verify_registration", 2).text("token").to_owned();
    window.open(&format!("/verify-email/{token}"));
    checker.check(&window, "verify-link");
    window.fill("password", "not the password");
    window.click("main form button");
    window.text("#password-problem");
    checker.check(&window, "verify-link-wrong");
    db_clear_rate_limits(&database);
    window.fill("password", PASSWORD);
    window.click("main form button");
    window.wait_for_path("/account");
    checker.check(&window, "overview-confirmed");
    window.open("/account/email");
    checker.check(&window, "email");
    window.fill("email", "ada@new.example.com");
    window.click("form[action='/account/email'] button");
    window.text("#change_code-hint");
    checker.check(&window, "email-waiting");
    let change = db_mail(&database, "change_email", 1);
    window.open(&format!("/verify-email/{}", change.text("token")));
    checker.check(&window, "verify-link-change");
    database.db_execute("UPDATE users SET email_verified_at = NULL");
    window.open("/account");
    checker.check(&window, "overview-unconfirmed");
    window.click(".recommendations button");
    window.text("#verify_code-hint");
    checker.check(&window, "email-unconfirmed");
    window.fill("verify_code", "x");
    window.click("form[action='/account/email/code'] button");
    window.text("#verify_code-problem");
    checker.check(&window, "email-errors");
    db_rate_limit_all(&database);
    window.click("form[action='/account/email/verify'] button");
    window.text("[role=alert][autofocus]");
    checker.check(&window, "email-throttled");
    db_clear_rate_limits(&database);
    let token = db_mail(&database, "verify_email", 1).text("token").to_owned();
    window.open(&format!("/verify-email/{token}"));
    checker.check(&window, "verify-link-signed-in");
    server.browser().post("/forgot-password", &[("email", &long)]);
    let token = db_mail(&database, "reset_password", 1).text("token").to_owned();
    window.open(&format!("/reset-password/{token}"));
    checker.check(&window, "reset-password");
    window.fill("new_password", "12345678");
    window.click("main form button");
    window.text("#new_password-problem");
    checker.check(&window, "reset-password-errors");
    assert_eq!(run(&database, &["user", "invite", "eve@example.com", "--name", "Eve"], "").code, 0);
    let invitation = db_mail(&database, "invitation", 1);
    window.open(&format!("/invitation/{}", invitation.text("token")));
    checker.check(&window, "invitation");
    window.fill("password", "12345678");
    window.click("main form button");
    window.text("#password-problem");
    checker.check(&window, "invitation-errors");
    database.db_execute("UPDATE users SET email_verified_at = now()");
    window.open("/account/email");
    window.fill("change_code", change.text("code"));
    window.click("form[action='/account/email/code'] button");
    window.text("[role=status]");
    checker.check(&window, "email-changed");
    let token = db_mail(&database, "email_changed", 1).text("undo_token").to_owned();
    window.open(&format!("/undo-email-change/{token}"));
    checker.check(&window, "undo-email-change");
    // Another account uses the email: the page shows it, and the link works once the email is free.
    db_create_user(&database, &long);
    window.click("main form button");
    window.text("[role=alert]");
    checker.check(&window, "undo-email-change-taken");
    database.db_execute("DELETE FROM users WHERE display_name = 'Other'");
    window.click("main form button");
    window.text("#new_password-hint");
    assert!(window.text("[role=status]").contains("Your email is"));
    checker.check(&window, "undo-email-change-done");
    window.fill("new_password", "12345678");
    window.click("main form button");
    window.text("#new_password-problem");
    window.fill("new_password", OTHER_PASSWORD);
    window.click("main form button");
    window.wait_for_path("/login");
    checker.check(&window, "undo-email-change-password-set");
}

/// Saves the HTML of the pages of mailed links.
pub(super) fn save_mailed_links(save: &mut impl FnMut(Response)) {
    let (server, database) = verified_site();
    let mut ada = server.browser();
    for path in [
        "/forgot-password",
        "/forgot-password?sent",
        "/reset-password/x",
        "/reset-password",
        "/verify-email",
    ] {
        save(ada.get(path));
    }
    save(ada.post("/forgot-password", &[("email", "\"><b>")]));
    let fields = [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
    let code_page = ada.post("/register", &fields).location().to_owned();
    save(ada.get(&code_page));
    save(ada.post(&code_page, &[("code", "x")]));
    let mail = db_mail(&database, "verify_registration", 1);
    let link = format!("/verify-email/{}", mail.text("token"));
    save(ada.open(&link));
    save(ada.post(&link, &[("password", "")]));
    ada.post(&code_page, &[("code", mail.text("code"))]);
    save(ada.get("/account/email"));
    save(ada.post("/account/email", &[("email", "'")]));
    ada.post("/account/email", &[("email", "ada@new.example.com")]);
    database.db_execute("UPDATE users SET email_verified_at = NULL");
    save(ada.get("/account"));
    ada.post("/account/email/verify", &[]);
    save(ada.get("/account/email"));
    save(ada.post("/account/email/code", &[("change_code", "0000-0000")]));
    let link = format!("/verify-email/{}", db_mail(&database, "change_email", 1).text("token"));
    save(ada.open(&link));
    save(server.browser().open(&link));
    let link = format!("/verify-email/{}", db_mail(&database, "verify_email", 1).text("token"));
    save(ada.open(&link));
    ada.post(&link, &[]);
    ada.post("/forgot-password", &[("email", "ada@example.com")]);
    let link = format!("/reset-password/{}", db_mail(&database, "reset_password", 1).text("token"));
    save(ada.open(&link));
    save(ada.post(&link, &[("new_password", "x")]));
    assert_eq!(run(&database, &["user", "invite", "eve@example.com"], "").code, 0);
    let link = format!("/invitation/{}", db_mail(&database, "invitation", 1).text("token"));
    save(ada.open(&link));
    save(ada.post(&link, &[("display_name", "\"><b>"), ("password", "x")]));
    let code = db_mail(&database, "change_email", 1).text("code").to_owned();
    ada.post("/account/email/code", &[("change_code", &code)]);
    let undo = db_mail(&database, "email_changed", 1).text("undo_token").to_owned();
    save(ada.open(&format!("/undo-email-change/{undo}")));
    db_create_user(&database, "ada@example.com");
    save(ada.post(&format!("/undo-email-change/{undo}"), &[]));
    database.db_execute("DELETE FROM users WHERE display_name = 'Other'");
    let form = ada.post(&format!("/undo-email-change/{undo}"), &[]).location().to_owned();
    save(ada.get(&form));
    save(ada.post(&form, &[("new_password", "x")]));
}

/// Creates another account with the email.
fn db_create_user(database: &Database, email: &str) {
    database.db_execute(&format!(
        "INSERT INTO users (id, email, email_canonical, display_name)
         VALUES (gen_random_uuid(), '{email}', '{email}', 'Other')"
    ));
}
