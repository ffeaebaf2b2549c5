//! Sign-in, registration and recovery take the same time for every class of account.

use crate::alone;
use crate::median::{Act, take_the_same_time};
use crate::support::classes::{CLASSES, db_classes, recover, register};
use crate::support::mail::db_forget_tries;
use crate::support::{Browser, OTHER_PASSWORD};

/// Every try of each class comes from a browser without cookies, and no try before it counts.
fn take_the_same_time_for_every_class(
    what: &str,
    status: u16,
    ask: impl Fn(&mut Browser, &str, usize) -> u16,
) {
    let _alone = alone();
    let (server, database) = db_classes();
    let (server, ask) = (&server, &ask);
    let mut acts = CLASSES.map(|class| -> Act<'_> {
        let act = move |number| {
            assert_eq!(ask(&mut server.browser(), class, number), status);
        };
        (class, Box::new(act))
    });
    take_the_same_time(what, 400, &mut || db_forget_tries(&database), &mut acts);
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
        recover(browser, &format!("{class}@example.com")).status
    });
}
