//! Whether an address has an account: sign-in, registration and recovery say the same of every class of account. That they
//! take the same time is in tests/quiet.

use crate::support::account_states::{
    ACCOUNT_STATES, db_account_states, register, request_password_reset,
};
use crate::support::mail::db_clear_rate_limits;
use crate::support::{OTHER_PASSWORD, PASSWORD, Response};

/// Everything of an answer but what differs between any two.
fn bare(answer: &Response, email: &str) -> String {
    let id = answer.header("x-request-id").unwrap();
    let mut head: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("date"))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    head.sort();
    let mut all = format!("{}\n{}\n\n{}", answer.status, head.join("\n"), answer.body);
    all = all.replace(id, "ID").replace(email, "EMAIL");
    // What is sealed is another value each time; its length is compared.
    for cookie in answer.cookies() {
        let sealed = cookie.split(['=', ';']).nth(1).unwrap();
        assert!(sealed.len() > 50, "{cookie}");
        all = all.replace(sealed, &"S".repeat(sealed.len()));
    }
    // The length of a page that repeats an address is that of the page and the address.
    let length = answer.body.len().to_string();
    let without =
        (answer.body.len() - email.len() * answer.body.matches(email).count()).to_string();
    all.replace(&format!("content-length: {length}"), &format!("content-length: {without}"))
}

#[test]
fn sign_in_responses_are_identical_for_every_account_state() {
    let (server, database) = db_account_states();
    let wrong = ACCOUNT_STATES.map(|class| (class, OTHER_PASSWORD));
    let right = ["unknown", "disabled", "no-password", "disabled-unverified"];
    let answers =
        wrong.into_iter().chain(right.map(|class| (class, PASSWORD))).map(|(class, password)| {
            db_clear_rate_limits(&database);
            let email = format!("{class}@example.com");
            let mut browser = server.browser();
            let answer = browser.login(&email, password);
            assert_eq!(answer.status, 422, "{}", answer.body);
            assert!(browser.cookies.is_empty());
            (class, bare(&answer, &email))
        });
    let answers: Vec<_> = answers.collect();
    for (class, answer) in &answers {
        assert_eq!(answer, &answers[0].1, "{class}");
    }
}

#[test]
fn registration_and_recovery_responses_are_identical_for_every_account_state() {
    let (server, database) = db_account_states();
    for what in [register, request_password_reset] {
        let answers: Vec<String> = ACCOUNT_STATES
            .iter()
            .map(|class| {
                db_clear_rate_limits(&database);
                let email = format!("{class}@example.com");
                let mut browser = server.browser();
                let answer = what(&mut browser, &email);
                assert_eq!(answer.status, 303, "{}", answer.body);
                assert!(browser.session().is_none());
                let next = browser.get(answer.location());
                bare(&answer, &email) + &bare(&next, &email)
            })
            .collect();
        for (class, answer) in ACCOUNT_STATES.iter().zip(&answers) {
            assert_eq!(answer, &answers[0], "{class}");
        }
    }
    // And what a code says there.
    let said: Vec<String> = ACCOUNT_STATES
        .iter()
        .map(|class| {
            db_clear_rate_limits(&database);
            let email = format!("{class}@example.com");
            let mut browser = server.browser();
            let waits = register(&mut browser, &email).location().to_owned();
            let until = "SELECT count(*) FROM registrations WHERE mailed_at IS NULL";
            crate::support::breakpoint::until(|| database.db_count(until) == 0);
            let mut said = String::new();
            for _ in 0..7 {
                db_clear_rate_limits(&database);
                let answer = browser.post(&waits, &[("code", "0000-0000")]);
                said += &bare(&answer, &email);
            }
            let answer = browser.post(&waits, &[("again", "on")]);
            assert_eq!(answer.status, 303);
            said
        })
        .collect();
    for (class, one) in ACCOUNT_STATES.iter().zip(&said) {
        assert_eq!(one, &said[0], "{class}");
    }
}
