//! The cookie of a pending registration: the code in the mail works only in the browser that has it.

use crate::support::mail::db_mail;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered, verified_site};
use crate::verification::{WAITS, register};

fn users(database: &Database) -> i64 {
    database.db_count("SELECT count(*) FROM users")
}

#[test]
fn a_registration_code_works_only_in_the_browser_that_registered() {
    let (server, database) = verified_site();
    let mut ada = server.browser();
    register(&mut ada, "ada@example.com", PASSWORD);
    let ada_code = db_mail(&database, "verify_registration", 1).text("code").to_owned();
    assert!(ada_code.len() == 9 && ada_code.as_bytes()[4] == b'-', "{ada_code}");
    let mut eve = server.browser();
    register(&mut eve, "eve@example.com", PASSWORD);
    let eve_code = db_mail(&database, "verify_registration", 2).text("code").to_owned();
    // The code of one registration used in another, both ways, and the same email registered in another
    // browser.
    assert_eq!(eve.post(WAITS, &[("code", &ada_code)]).status, 422);
    assert_eq!(ada.post(WAITS, &[("code", &eve_code)]).status, 422);
    register(&mut eve, "ada@example.com", OTHER_PASSWORD);
    db_mail(&database, "verify_registration", 3);
    assert_eq!(eve.post(WAITS, &[("code", &ada_code)]).status, 422);
    assert_eq!(users(&database), 0);
    let typed = ada_code.to_lowercase().replace('-', " ");
    let answer = ada.post(WAITS, &[("code", &typed)]);
    assert_eq!((answer.status, answer.location()), (303, "/account"));
    assert!(ada.is_signed_in());
    assert_eq!(eve.get(WAITS).status, 410, "the other registration of this email is deleted");
}

#[test]
fn a_registration_code_creates_no_account_in_a_browser_without_the_cookie() {
    let (server, database) = verified_site();
    let mut eve = server.browser();
    // Attack: Eve registers Ada's email with a password she knows, and hopes that Ada enters the mailed code.
    register(&mut eve, "ada@example.com", PASSWORD);
    let code = db_mail(&database, "verify_registration", 1).text("code").to_owned();
    let cookie = eve.cookies["registration"].clone();
    let mut ada = server.browser();
    for url in [WAITS.to_owned(), format!("{WAITS}?ticket={cookie}"), format!("{WAITS}?{cookie}")] {
        assert_eq!(ada.get(&url).status, 410, "{url}");
        assert_eq!(ada.post(&url, &[("code", &code)]).status, 410, "{url}");
        assert_eq!(ada.post(&url, &[("code", &code), ("ticket", &cookie)]).status, 410, "{url}");
    }
    // A truncated cookie, one of another kind, and two cookies are invalid.
    let device =
        registered(&Server::start(&Database::new(), &[]), "eve@example.com").cookies["device"]
            .clone();
    for value in [
        &cookie[1..],
        &cookie[..cookie.len() - 1],
        device.as_str(),
        &format!("{cookie}; registration={cookie}"),
    ] {
        ada.cookies.insert("registration".to_owned(), value.to_owned());
        assert_eq!(ada.post(WAITS, &[("code", &code)]).status, 410, "{value}");
    }
    assert_eq!(users(&database), 0);
    assert_eq!(eve.post(WAITS, &[("code", &code)]).status, 303);
    assert!(!eve.cookies.contains_key("registration"), "the cookie is removed after use");
}

#[test]
fn the_registration_cookie_lasts_a_day_and_is_http_only() {
    let database = Database::new();
    let settings = [
        ("FRONTDESK_PUBLIC_URL", "https://desk.example.com"),
        ("FRONTDESK_REGISTRATION", "verified"),
        ("FRONTDESK_MAIL_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/tickets")),
    ];
    let server = Server::start(&database, &settings);
    let fields = [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
    let mut browser = server.browser();
    let answer = browser.post("/register", &fields);
    let [cookie] = answer.cookies()[..] else { panic!("{:?}", answer.cookies()) };
    assert!(cookie.starts_with("__Host-registration="), "{cookie}");
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age=86400"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert_eq!(browser.get(WAITS).status, 200);
}

#[test]
fn a_code_signs_in_only_shortly_after_the_password_was_entered() {
    let (server, database) = verified_site();
    for (number, (age, signed_in)) in [("14 min", true), ("16 min", false)].into_iter().enumerate()
    {
        let email = format!("user{number}@example.com");
        let mut browser = server.browser();
        register(&mut browser, &email, PASSWORD);
        let code = db_mail(&database, "verify_registration", number + 1).text("code").to_owned();
        database.db_execute(&format!(
            "UPDATE registrations SET created_at = created_at - interval '{age}'"
        ));
        let answer = browser.post(WAITS, &[("code", &code)]);
        let to = if signed_in { "/account" } else { "/login" };
        assert_eq!((answer.status, answer.location()), (303, to), "{age}");
        assert_eq!(browser.is_signed_in(), signed_in, "{age}");
        assert_eq!(users(&database), number as i64 + 1);
        assert!(!browser.cookies.contains_key("registration"));
        assert_eq!(browser.login(&email, PASSWORD).status, 303);
    }
}
