//! User enumeration: responses of sign-in, registration and recovery are identical for every account state.
//! That their times are identical is tested in tests/quiet.

use crate::support::account_states::{
    ACCOUNT_STATES, db_account_states, register, request_password_reset,
};
use crate::support::mail::db_clear_rate_limits;
use crate::support::{OTHER_PASSWORD, PASSWORD, Response};

/// The response as text, with the values that differ between any two responses replaced.
fn normalized(response: &Response, email: &str) -> String {
    let id = response.header("x-request-id").unwrap();
    let mut head: Vec<String> = response
        .headers
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("date"))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    head.sort();
    let body = response.body_without_tokens();
    let mut all = format!("{}\n{}\n\n{body}", response.status, head.join("\n"));
    all = all.replace(id, "ID").replace(email, "EMAIL");
    // A sealed or random cookie has a new value each time; only its length is compared.
    for cookie in response.cookies() {
        let sealed = cookie.split(['=', ';']).nth(1).unwrap();
        assert!(sealed.len() > 50 || cookie.starts_with("browser="), "{cookie}");
        all = all.replace(sealed, &"S".repeat(sealed.len()));
    }
    // A page that repeats the email is longer by the length of the email.
    let length = response.body.len().to_string();
    let without =
        (response.body.len() - email.len() * response.body.matches(email).count()).to_string();
    all.replace(&format!("content-length: {length}"), &format!("content-length: {without}"))
}

#[test]
fn sign_in_responses_are_identical_for_every_account_state() {
    let (server, database) = db_account_states();
    let with_wrong_password = ACCOUNT_STATES.map(|state| (state, OTHER_PASSWORD));
    let with_right_password = ["unknown", "disabled", "no-password", "disabled-unverified"];
    let responses = with_wrong_password
        .into_iter()
        .chain(with_right_password.map(|state| (state, PASSWORD)))
        .map(|(state, password)| {
            db_clear_rate_limits(&database);
            let email = format!("{state}@example.com");
            let mut browser = server.browser();
            let response = browser.login(&email, password);
            assert_eq!(response.status, 422, "{}", response.body);
            assert!(browser.cookies.is_empty());
            (state, normalized(&response, &email))
        });
    let responses: Vec<_> = responses.collect();
    for (state, response) in &responses {
        assert_eq!(response, &responses[0].1, "{state}");
    }
}

#[test]
fn registration_and_recovery_responses_are_identical_for_every_account_state() {
    let (server, database) = db_account_states();
    for request in [register, request_password_reset] {
        let responses: Vec<String> = ACCOUNT_STATES
            .iter()
            .map(|state| {
                db_clear_rate_limits(&database);
                let email = format!("{state}@example.com");
                let mut browser = server.browser();
                let response = request(&mut browser, &email);
                assert_eq!(response.status, 303, "{}", response.body);
                assert!(browser.session().is_none());
                let next = browser.get(response.location());
                normalized(&response, &email) + &normalized(&next, &email)
            })
            .collect();
        for (state, response) in ACCOUNT_STATES.iter().zip(&responses) {
            assert_eq!(response, &responses[0], "{state}");
        }
    }
    // The same for wrong codes and for another mail.
    let all: Vec<String> = ACCOUNT_STATES
        .iter()
        .map(|state| {
            db_clear_rate_limits(&database);
            let email = format!("{state}@example.com");
            let mut browser = server.browser();
            let code_page = register(&mut browser, &email).location().to_owned();
            let pending = "SELECT count(*) FROM registrations WHERE mailed_at IS NULL";
            crate::support::breakpoint::until(|| database.db_count(pending) == 0);
            let mut all = String::new();
            for _ in 0..7 {
                db_clear_rate_limits(&database);
                let response = browser.post(&code_page, &[("code", "0000-0000")]);
                all += &normalized(&response, &email);
            }
            let response = browser.post(&code_page, &[("again", "on")]);
            assert_eq!(response.status, 303);
            all
        })
        .collect();
    for (state, one) in ACCOUNT_STATES.iter().zip(&all) {
        assert_eq!(one, &all[0], "{state}");
    }
}
