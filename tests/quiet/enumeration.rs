//! Sign-in, registration and recovery take the same time for every class of account.

use crate::alone;
use crate::median::{Act, take_the_same_time};
use crate::support::account_states::{
    ACCOUNT_STATES, db_account_states, register, request_password_reset,
};
use crate::support::mail::db_clear_rate_limits;
use crate::support::{Browser, OTHER_PASSWORD};

/// Every try of each class comes from a browser without cookies, and no try before it counts.
fn take_the_same_time_for_every_class(
    what: &str,
    status: u16,
    ask: impl Fn(&mut Browser, &str, usize) -> u16,
) {
    let _alone = alone();
    let (server, database) = db_account_states();
    let (server, ask) = (&server, &ask);
    let mut acts = ACCOUNT_STATES.map(|class| -> Act<'_> {
        let act = move |number| {
            assert_eq!(ask(&mut server.browser(), class, number), status);
        };
        (class, Box::new(act))
    });
    take_the_same_time(what, 400, &mut || db_clear_rate_limits(&database), &mut acts);
}

#[test]
fn sign_in_takes_the_same_time_for_every_class_of_account() {
    take_the_same_time_for_every_class("sign-in", 422, |browser, class, _| {
        browser.login(&format!("{class}@example.com"), OTHER_PASSWORD).status
    });
}

#[test]
fn registration_takes_the_same_time_for_every_class_of_account() {
    take_the_same_time_for_every_class("registration", 303, |browser, class, number| {
        // Whom nobody knew would be known at the second try.
        let name = if class == "unknown" { format!("{class}{number}") } else { class.to_owned() };
        register(browser, &format!("{name}@example.com")).status
    });
}

#[test]
fn recovery_takes_the_same_time_for_every_class_of_account() {
    take_the_same_time_for_every_class("recovery", 303, |browser, class, _| {
        request_password_reset(browser, &format!("{class}@example.com")).status
    });
}
