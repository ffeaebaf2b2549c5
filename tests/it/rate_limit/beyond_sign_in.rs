//! Rate limits on registration, on requests for mail, and on the current password of a signed-in user.

use super::{ADA, age_counters, behind_a_proxy, counters, retry_after};
use crate::support::{Browser, OTHER_PASSWORD, PASSWORD, registered, site, verified_site};

#[test]
fn registration_is_limited_by_ip_and_by_email() {
    let (server, database) = behind_a_proxy();
    let register = |from: &str, email: &str| {
        let fields = [("email", email), ("display_name", "Guest"), ("password", PASSWORD)];
        server.browser().post_from(from, "/register", &fields)
    };
    let same: Vec<u16> =
        (0..7).map(|number| register(&format!("203.0.113.{number}"), ADA).status).collect();
    assert_eq!(
        same,
        [303, 422, 422, 422, 422, 422, 422],
        "attempts of others do not block a registration"
    );
    let pair: Vec<u16> = (0..6).map(|_| register("203.0.113.0", ADA).status).collect();
    assert_eq!(pair, [422, 422, 422, 422, 429, 429]);
    let many: Vec<u16> = (0..32)
        .map(|number| register("198.51.100.1", &format!("user{number}@example.com")).status)
        .collect();
    assert_eq!(many.iter().filter(|status| **status == 303).count(), 30, "{many:?}");
    let refused = register("198.51.100.1", "late@example.com");
    assert_eq!(refused.status, 429);
    assert!((1..=30).contains(&retry_after(&refused)));
    assert!(refused.body.contains("That was a lot of new accounts at once."));
    assert!(refused.body.contains("value=\"late@example.com\""));
    assert_eq!(database.db_count("SELECT count(*) FROM users"), 31);
    assert_eq!(register("198.51.100.2", "late@example.com").status, 303);
}

#[test]
fn guessing_the_current_password_in_an_open_session_is_rate_limited() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    let mut there = server.browser();
    there.login(ADA, PASSWORD);
    let mut guess = |current: &str| {
        let fields = [("current_password", current), ("new_password", OTHER_PASSWORD)];
        there.post("/account/password", &fields)
    };
    let statuses: Vec<u16> = (0..12).map(|_| guess("not the password").status).collect();
    assert_eq!(statuses[..10], [422; 10]);
    assert_eq!(statuses[10..], [429; 2]);
    let refused = guess(PASSWORD);
    assert_eq!(refused.status, 429, "the correct password is not verified");
    assert!((1..=30).contains(&retry_after(&refused)));
    assert!(refused.body.contains("Too many tries. Wait "));
    assert!(refused.body.contains("name=\"current_password\""), "the form is shown again");
    assert!(ada.is_signed_in());
    assert_eq!(
        server.browser().login(ADA, PASSWORD).status,
        303,
        "counted separately from sign-in"
    );
    age_counters(&database, "30 s");
    assert_eq!(guess(PASSWORD).status, 303);
    assert_eq!(counters(&database), ["register_address 1", "register_pair 1", "sign_in_address 0"]);
}

#[test]
fn a_rate_limited_mail_request_keeps_the_form_and_says_how_long_to_wait() {
    let (server, database) = verified_site();
    let request =
        |from: &mut Browser, path: &str, email: &str| from.post(path, &[("email", email)]);
    for email in [ADA, "nobody@example.com"] {
        let mut visitor = server.browser();
        let statuses: Vec<u16> =
            (0..5).map(|_| request(&mut visitor, "/forgot-password", email).status).collect();
        assert_eq!(statuses, [303, 303, 303, 303, 429], "{email}");
        let refused = request(&mut visitor, "/forgot-password", email);
        assert!((1..=30).contains(&retry_after(&refused)));
        let seconds = retry_after(&refused);
        assert!(refused.body.contains(&format!("Wait {seconds} seconds")), "{}", refused.body);
        assert!(refused.body.contains(&format!("value=\"{email}\"")));
    }
    // Without a form to show again, an error page shows the message.
    database.db_execute(
        "INSERT INTO throttles SELECT 'verify_address', subject, 40, now() + interval '10 minutes', now(), now() + interval '1 day'
           FROM throttles WHERE action = 'recover_address'",
    );
    let refused = server.browser().post("/verify-email/x", &[("password", PASSWORD)]);
    assert_eq!(refused.status, 429);
    assert!(refused.body.contains("That was a lot at once. Wait 10 minutes, then try again."));
}
