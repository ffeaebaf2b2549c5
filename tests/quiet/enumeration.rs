//! Sign-in, registration and recovery take the same time for every class of account.

use crate::exclusive;
use crate::support::account_states::{
    ACCOUNT_STATES, db_account_states, register, request_password_reset,
};
use crate::support::mail::db_clear_rate_limits;
use crate::support::{Browser, OTHER_PASSWORD};
use crate::timing::{Action, assert_same_median};

/// Each try uses a browser without cookies, and the counted attempts are deleted before it.
fn assert_same_median_for_every_class(
    what: &str,
    status: u16,
    request: impl Fn(&mut Browser, &str, usize) -> u16,
) {
    let _exclusive = exclusive();
    let (server, database) = db_account_states();
    let (server, request) = (&server, &request);
    let mut actions = ACCOUNT_STATES.map(|class| -> Action<'_> {
        let action = move |number| {
            assert_eq!(request(&mut server.browser(), class, number), status);
        };
        (class, Box::new(action))
    });
    assert_same_median(what, 400, &mut || db_clear_rate_limits(&database), &mut actions);
}

#[test]
fn sign_in_takes_the_same_time_for_every_class_of_account() {
    assert_same_median_for_every_class("sign-in", 422, |browser, class, _| {
        browser.login(&format!("{class}@example.com"), OTHER_PASSWORD).status
    });
}

#[test]
fn registration_takes_the_same_time_for_every_class_of_account() {
    assert_same_median_for_every_class("registration", 303, |browser, class, number| {
        // An unknown email would no longer be unknown at its second try.
        let name = if class == "unknown" { format!("{class}{number}") } else { class.to_owned() };
        register(browser, &format!("{name}@example.com")).status
    });
}

#[test]
fn recovery_takes_the_same_time_for_every_class_of_account() {
    assert_same_median_for_every_class("recovery", 303, |browser, class, _| {
        request_password_reset(browser, &format!("{class}@example.com")).status
    });
}
