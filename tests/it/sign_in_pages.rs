//! Registration, sign-in and sign-out.

use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

#[test]
fn registering_signs_in_and_signing_out_invalidates_every_copy_of_the_cookie() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    assert!(browser.is_signed_in());
    let mut thief = browser.clone();
    let response = browser.post("/logout", &[]);
    assert_eq!((response.status, response.location()), (303, "/"));
    assert_eq!(response.header("clear-site-data"), Some("\"cache\""));
    assert!(browser.session().is_none());
    assert!(!thief.is_signed_in());
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
    assert!(browser.get("/").body.contains("You&#39;re signed out."));
    assert!(!browser.get("/").body.contains("You&#39;re signed out."));
}

#[test]
fn unknown_email_wrong_password_and_disabled_account_look_the_same() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    registered(&server, "bob@example.com");
    database.db_execute("UPDATE users SET disabled_at = now() WHERE email = 'bob@example.com'");
    let mut responses = Vec::new();
    for (email, password) in [
        ("eve@example.com", PASSWORD),
        ("ada@example.com", OTHER_PASSWORD),
        ("bob@example.com", PASSWORD),
    ] {
        let response = server.browser().login(email, password);
        let names: Vec<String> = response.headers.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(response.status, 422);
        assert!(response.body.contains("That email or password is incorrect"));
        assert!(response.body.contains(&format!("value=\"{email}\"")), "the email is kept");
        assert!(!response.body.contains(password), "the password is not kept");
        let mut sorted = names;
        sorted.sort();
        let body = response.body.replace(email, "EMAIL");
        responses.push((sorted, body, response.cookies().len()));
    }
    assert_eq!(responses[0], responses[1]);
    assert_eq!(responses[0], responses[2]);
    let sessions = "SELECT count(*) FROM sessions";
    assert_eq!(database.db_count(sessions), 1, "that of Ada's registration; Bob's has ended");
}

#[test]
fn a_sign_in_creates_a_new_id_and_secret_and_ends_the_previous_session() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    let mut before = browser.clone();
    let id = database.db_texts("SELECT id::text FROM sessions");
    let response = browser.login("ada@example.com", PASSWORD);
    assert_eq!((response.status, response.location()), (303, "/account"));
    assert_ne!(browser.session(), before.session());
    assert!(browser.is_signed_in());
    assert!(!before.is_signed_in());
    let now = database.db_texts("SELECT id::text FROM sessions");
    assert_eq!(now.len(), 1);
    assert_ne!(now, id);
}

#[test]
fn session_state_from_before_a_sign_in_is_discarded() {
    let (server, database) = site();
    let mut browser = registered(&server, "ada@example.com");
    database.db_execute(r#"UPDATE sessions SET state = '{"planted": "by an attacker"}'"#);
    browser.login("ada@example.com", PASSWORD);
    assert_eq!(database.db_texts("SELECT state::text FROM sessions"), ["{}"]);
}

#[test]
fn a_session_cookie_that_was_never_issued_is_not_adopted() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let mut browser = server.browser();
    browser.cookies.insert("session".to_owned(), "A".repeat(120));
    browser.login("ada@example.com", PASSWORD);
    assert_ne!(browser.session(), Some("A".repeat(120).as_str()));
    assert!(browser.is_signed_in());
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 2);
}

#[test]
fn a_remembered_session_has_longer_timeouts_and_a_persistent_cookie() {
    let (server, database) = site();
    let not_remembered = registered(&server, "ada@example.com");
    drop(not_remembered);
    let mut browser = server.browser();
    let response = browser.post(
        "/login",
        &[("email", "ada@example.com"), ("password", PASSWORD), ("remember_me", "on")],
    );
    let cookie = response.cookies()[0].to_owned();
    assert!(cookie.contains("Max-Age=7776000"), "{cookie}");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let timeouts = database.db_texts(
        "SELECT remembered || ' ' || idle_timeout || ' ' || (absolute_expires_at - created_at) FROM sessions ORDER BY remembered",
    );
    assert_eq!(timeouts, ["false 02:00:00 1 day", "true 336:00:00 90 days"]);
}

#[test]
fn next_redirects_to_the_requested_page_and_never_to_another_site() {
    let (server, _database) = site();
    registered(&server, "ada@example.com");
    let mut browser = server.browser();
    let redirect = browser.get("/account/sessions?x=1");
    assert_eq!(
        (redirect.status, redirect.location()),
        (303, "/login?next=%2Faccount%2Fsessions%3Fx%3D1")
    );
    let backslash = browser.get("/account/sessions?a=\\x");
    assert_eq!(backslash.location(), "/login?next=%2Faccount%2Fsessions%3Fa%3D%5Cx");
    assert!(
        browser
            .get("/login?next=/account/sessions")
            .body
            .contains(r#"name="next" value="/account/sessions""#)
    );
    for (next, to) in [
        ("/account/sessions?x=1", "/account/sessions?x=1"),
        ("/account/sessions?a=\\x", "/account/sessions?a=\\x"),
        ("//evil.example", "/account"),
        ("/\\evil.example", "/account"),
        ("https://evil.example/", "/account"),
        ("/.//evil.example", "/account"),
        ("/logout", "/account"),
        ("", "/account"),
    ] {
        let mut browser = server.browser();
        let response = browser.post(
            "/login",
            &[("email", "ada@example.com"), ("password", PASSWORD), ("next", next)],
        );
        assert_eq!((response.status, response.location()), (303, to), "{next}");
        let signed_in =
            browser.get(&format!("/login?{}", crate::support::browser::encode(&[("next", next)])));
        assert_eq!((signed_in.status, signed_in.location()), (303, to), "{next}");
    }
}

#[test]
fn registration_shows_an_error_for_each_invalid_field() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    for (email, name, password, error) in [
        ("ada", "Ada", PASSWORD, "Enter an email address like name@example.com."),
        ("Ada@Example.COM ", "Ada", PASSWORD, "An account with this email already exists."),
        ("eve@example.com", " ", PASSWORD, "Enter your name."),
        ("eve@example.com", "Eve", "short", "Use at least 8 characters."),
        ("eve@example.com", "Eve", "password123", "one of the most common passwords"),
        ("evelyn@example.com", "Eve", "evelyn likes tea", "contains your email address"),
        ("eve@example.com", "Evelyn", "evelyn likes tea", "contains your name"),
    ] {
        let response = server
            .browser()
            .post("/register", &[("email", email), ("display_name", name), ("password", password)]);
        assert_eq!(response.status, 422, "{error}");
        assert!(response.body.contains(error), "{error}: {}", response.body);
        assert!(
            response.body.contains("role=\"alert\"")
                && response.body.contains("aria-invalid=\"true\"")
        );
        assert!(response.body.contains(" autofocus"));
        assert!(!response.body.contains(&format!("value=\"{password}\"")));
    }
    assert_eq!(database.db_count("SELECT count(*) FROM users"), 1);
}

#[test]
fn closed_registration_is_announced_and_creates_no_account() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_REGISTRATION", "closed")]);
    assert!(server.browser().get("/register").body.contains("Registration is closed"));
    let fields = [("email", "eve@example.com"), ("display_name", "Eve"), ("password", PASSWORD)];
    assert_eq!(server.browser().post("/register", &fields).status, 403);
    assert_eq!(database.db_count("SELECT count(*) FROM users"), 0);
}

#[test]
fn passwords_are_compared_exactly_after_unicode_normalization() {
    let (server, _database) = site();
    let mut browser = server.browser();
    let password = "  Caf\u{e9} & <b>tea</b> 🛎  ";
    let fields = [("email", "ada@example.com"), ("display_name", "Ada"), ("password", password)];
    assert_eq!(browser.post("/register", &fields).status, 303);
    for (typed, status) in [
        (password.to_owned(), 303),
        (password.replace('\u{e9}', "e\u{301}"), 303),
        (password.trim().to_owned(), 422),
        (password.to_lowercase(), 422),
    ] {
        assert_eq!(server.browser().login("ada@example.com", &typed).status, status, "{typed:?}");
    }
}

#[test]
fn a_hash_with_old_parameters_is_upgraded_at_sign_in() {
    let database = Database::new();
    let old = Server::start(
        &database,
        &[("FRONTDESK_ARGON2_MEMORY_KIB", "12288"), ("FRONTDESK_ARGON2_ITERATIONS", "3")],
    );
    registered(&old, "ada@example.com");
    let new = Server::start(&database, &[]);
    let hash = || database.db_texts("SELECT password_hash FROM users")[0].clone();
    assert!(hash().starts_with("$argon2id$v=19$m=12288,t=3,p=1$"));
    assert_eq!(new.browser().login("ada@example.com", OTHER_PASSWORD).status, 422);
    assert!(hash().starts_with("$argon2id$v=19$m=12288,t=3,p=1$"));
    assert_eq!(new.browser().login("ada@example.com", PASSWORD).status, 303);
    assert!(hash().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_eq!(new.browser().login("ada@example.com", PASSWORD).status, 303);
}

#[test]
fn a_password_set_five_years_ago_still_signs_in() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    database.db_execute(
        "UPDATE users SET created_at = now() - interval '5 years', password_changed_at = now() - interval '5 years'",
    );
    let mut browser = server.browser();
    let response = browser.login("ada@example.com", PASSWORD);
    assert_eq!((response.status, response.location()), (303, "/account"));
    assert_eq!(browser.get("/account").status, 200, "no other password is asked for");
}

#[test]
fn a_new_database_has_no_account_and_no_session() {
    let (server, database) = site();
    for table in ["users", "sessions", "registrations", "email_tokens"] {
        assert_eq!(database.db_count(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    for email in ["admin@example.com", "root@localhost", "frontdesk@example.com"] {
        for password in ["admin", "password", "frontdesk", "changeme"] {
            database.db_execute("DELETE FROM throttles");
            assert_eq!(server.browser().login(email, password).status, 422, "{email} {password}");
        }
    }
}

#[test]
fn a_password_of_1024_bytes_is_accepted_and_one_byte_more_is_refused() {
    let (server, database) = site();
    let longest: String = (0..).map(|number| format!("{number} lamps, ")).take(200).collect();
    let longest = format!("{}\u{e9}", &longest[..1022]);
    assert_eq!(longest.len(), 1024);
    let fields = |password: &'static str| {
        [("email", "ada@example.com"), ("display_name", "Ada"), ("password", password)]
    };
    let longest: &'static str = longest.leak();
    let longer: &'static str = format!("{longest}x").leak();
    let response = server.browser().post("/register", &fields(longer));
    assert_eq!(response.status, 422);
    assert!(response.body.contains("That password is too long."), "{}", response.body);
    assert_eq!(server.browser().post("/register", &fields(longest)).status, 303);
    // Each byte counts, the last one too.
    let shorter = &longest[..longest.len() - 2];
    for (typed, status) in [(longest, 303), (shorter, 422), (longer, 422)] {
        database.db_execute("DELETE FROM throttles");
        assert_eq!(server.browser().login("ada@example.com", typed).status, status);
    }
}
