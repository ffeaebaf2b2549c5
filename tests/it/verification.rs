//! Email verification: links and codes at registration, in verified and in open mode.

use crate::support::browser::encode;
use crate::support::mail::{Mail, db_clear_rate_limits, db_mail, db_mails};
use crate::support::{
    Browser, Database, OTHER_PASSWORD, PASSWORD, Response, Server, registered, site, verified_site,
};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// The page on which a browser waits after registering; the cookie, not the URL, identifies the registration.
pub const WAITS: &str = "/verify-email";

/// Registers in verified mode.
pub fn register(browser: &mut Browser, email: &str, password: &str) {
    let fields = [("email", email), ("display_name", "Somebody"), ("password", password)];
    let answer = browser.post("/register", &fields);
    assert_eq!((answer.status, answer.location()), (303, WAITS), "{}", answer.body);
}

fn link(mail: &Mail) -> String {
    format!("/verify-email/{}", mail.text("token"))
}

/// Submits the same form concurrently from thirty copies of a browser.
fn submit_thirty_times(browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Vec<Response> {
    let body = encode(fields);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..30)
            .map(|_| {
                let (mut browser, body) = (browser.clone(), body.as_str());
                scope.spawn(move || browser.send("POST", path, &[FORM], body))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn users(database: &Database) -> i64 {
    database.db_count("SELECT count(*) FROM users")
}

#[test]
fn a_registration_creates_the_account_and_signs_in_only_after_verification() {
    let (server, database) = verified_site();
    let mut browser = server.browser();
    register(&mut browser, " Ada@Example.com ", PASSWORD);
    assert!(browser.get(WAITS).body.contains("Ada@example.com"));
    assert_eq!(users(&database), 0);
    assert!(!browser.is_signed_in());
    let mail = db_mail(&database, "verify_registration", 1);
    assert_eq!(mail.recipient, "Ada@example.com");
    // In a browser other than the one that registered, the link asks for the password.
    let mut phone = server.browser();
    let page = phone.open(&link(&mail));
    assert_eq!(page.status, 200);
    assert!(page.body.contains("name=\"password\""));
    let refused = phone.post(&link(&mail), &[("password", OTHER_PASSWORD)]);
    assert_eq!(refused.status, 422);
    assert_eq!(users(&database), 0);
    let answer = phone.post(&link(&mail), &[("password", PASSWORD)]);
    assert_eq!((answer.status, answer.location()), (303, "/account"));
    assert!(phone.is_signed_in());
    assert!(!browser.is_signed_in());
    assert_eq!(
        database.db_texts("SELECT email || ' ' || (email_verified_at IS NOT NULL) FROM users"),
        ["Ada@example.com true"]
    );
    assert_eq!(
        database.db_texts("SELECT event FROM audit_events ORDER BY id"),
        ["registered", "email_verified", "signed_in"]
    );
    assert_eq!(database.db_count("SELECT count(*) FROM registrations"), 0);
    assert_eq!(browser.get(WAITS).status, 410);
    assert_eq!(phone.post(&link(&mail), &[("password", PASSWORD)]).status, 410);
}

#[test]
fn the_sixth_attempt_at_a_code_fails_even_if_it_is_correct() {
    let (server, database) = verified_site();
    let mut ada = server.browser();
    register(&mut ada, "ada@example.com", PASSWORD);
    let code = db_mail(&database, "verify_registration", 1).text("code").to_owned();
    for _ in 0..5 {
        let answer = ada.post(WAITS, &[("code", "0000-0000")]);
        assert_eq!(answer.status, 422);
        assert!(answer.body.contains("That code doesn&#39;t match"));
        db_clear_rate_limits(&database);
    }
    let answer = ada.post(WAITS, &[("code", &code)]);
    assert_eq!(answer.status, 422);
    assert!(answer.body.contains("That code no longer works."));
    assert_eq!(users(&database), 0);
    // A second mail has a new code, and invalidates the link of the first.
    let first = db_mail(&database, "verify_registration", 1);
    db_clear_rate_limits(&database);
    assert_eq!(ada.post(WAITS, &[("again", "on")]).status, 303);
    let second = db_mail(&database, "verify_registration", 2);
    assert_eq!(ada.get(&link(&first)).status, 410);
    assert_eq!(ada.open(&link(&second)).status, 200);
    assert_eq!(ada.post(WAITS, &[("code", second.text("code"))]).status, 303);
}

#[test]
fn the_code_of_a_registration_expires_after_ten_minutes_and_its_link_after_a_day() {
    let (server, database) = verified_site();
    let mut ada = server.browser();
    register(&mut ada, "ada@example.com", PASSWORD);
    let mail = db_mail(&database, "verify_registration", 1);
    let left = "SELECT EXTRACT(EPOCH FROM code_expires_at - now())::bigint FROM registrations";
    assert!((595..=600).contains(&database.db_count(left)));
    database.db_execute("UPDATE registrations SET code_expires_at = now() - interval '1 s'");
    let answer = ada.post(WAITS, &[("code", mail.text("code"))]);
    assert!(answer.body.contains("That code no longer works."));
    assert_eq!(ada.open(&link(&mail)).status, 200, "the link expires later");
    database.db_execute("UPDATE registrations SET expires_at = now()");
    for path in [WAITS, &link(&mail), "/verify-email/nothing-of-ours"] {
        let page = ada.get(path);
        assert_eq!(page.status, 410, "{path}");
        assert!(page.body.contains("This link no longer works"));
    }
    assert_eq!(ada.post(&link(&mail), &[("password", PASSWORD)]).status, 410);
    assert_eq!(users(&database), 0);
}

#[test]
fn too_many_codes_or_mails_show_the_form_again_with_the_wait() {
    let (server, database) = verified_site();
    let mut ada = server.browser();
    register(&mut ada, "ada@example.com", PASSWORD);
    db_mail(&database, "verify_registration", 1);
    for fields in [[("again", "on")], [("code", "ABCD2345")]] {
        let answer = (0..30).map(|_| ada.post(WAITS, &fields)).find(|answer| answer.status == 429);
        let page = answer.expect("a limit").body;
        assert!(
            page.contains("Too many attempts. Wait ") && page.contains("name=\"code\""),
            "{page}"
        );
        assert!(page.contains("<title>Error: "), "{page}");
    }
}

#[test]
fn thirty_concurrent_uses_of_a_link_or_code_create_one_account() {
    let (server, database) = verified_site();
    for round in 0..4 {
        let email = format!("user{round}@example.com");
        let mut browser = server.browser();
        register(&mut browser, &email, PASSWORD);
        let mail = db_mail(&database, "verify_registration", round + 1);
        let answers = if round % 2 == 0 {
            submit_thirty_times(&server.browser(), &link(&mail), &[("password", PASSWORD)])
        } else {
            submit_thirty_times(&browser, WAITS, &[("code", mail.text("code"))])
        };
        let succeeded = answers.iter().filter(|answer| answer.status == 303).count();
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(succeeded, 1, "{statuses:?}");
        assert!(
            statuses.iter().all(|status| [303, 410, 422, 429].contains(status)),
            "{statuses:?}"
        );
        assert_eq!(users(&database), round as i64 + 1);
        db_clear_rate_limits(&database);
    }
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 4);
}

#[test]
fn two_registrations_of_an_email_verified_concurrently_create_one_account() {
    let (server, database) = verified_site();
    for round in 0..10 {
        let email = format!("user{round}@example.com");
        let mut links = Vec::new();
        for (number, password) in [PASSWORD, OTHER_PASSWORD].into_iter().enumerate() {
            register(&mut server.browser(), &email, password);
            let mail = db_mail(&database, "verify_registration", round * 2 + number + 1);
            links.push((link(&mail), password));
        }
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let both: Vec<_> = links
                .iter()
                .map(|(link, password)| {
                    let mut browser = server.browser();
                    scope.spawn(move || browser.post(link, &[("password", password)]).status)
                })
                .collect();
            both.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let mut sorted = statuses.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [303, 410], "round {round}");
        let winner = links[statuses.iter().position(|status| *status == 303).unwrap()].1;
        assert_eq!(server.browser().login(&email, winner).status, 303);
        db_clear_rate_limits(&database);
    }
    assert_eq!(users(&database), 10);
}

#[test]
fn a_verification_link_still_works_after_ten_get_and_head_requests_by_scanners() {
    let (server, database) = verified_site();
    let mut browser = server.browser();
    register(&mut browser, "ada@example.com", PASSWORD);
    let mail = db_mail(&database, "verify_registration", 1);
    let snapshot = "SELECT (SELECT string_agg(r::text, '|') FROM registrations r) || (SELECT count(*) FROM users)
                           || (SELECT count(*) FROM sessions) || (SELECT count(*) FROM mail_outbox)
                           || (SELECT count(*) FROM audit_events)";
    let before = database.db_texts(snapshot);
    for _ in 0..10 {
        for (path, seen_by) in [(link(&mail).as_str(), server.browser()), (WAITS, browser.clone())]
        {
            assert_eq!(seen_by.clone().open(path).status, 200);
            assert!(seen_by.clone().send("HEAD", path, &[], "").status < 400);
            assert!(!seen_by.clone().is_signed_in());
        }
    }
    assert_eq!(database.db_texts(snapshot), before);
    assert_eq!(browser.post(&link(&mail), &[("password", PASSWORD)]).status, 303);
}

#[test]
fn registering_the_email_of_another_person_gives_no_access_in_verified_mode() {
    let (server, database) = verified_site();
    let mut squatter = server.browser();
    register(&mut squatter, "ada@example.com", OTHER_PASSWORD);
    let to_ada = db_mail(&database, "verify_registration", 1);
    // Ada reads the mail. She does not know the password, so the link cannot complete the other person's
    // registration.
    let mut ada = server.browser();
    assert_eq!(ada.post(&link(&to_ada), &[("password", PASSWORD)]).status, 422);
    register(&mut ada, "ADA@example.com", PASSWORD);
    let mail = db_mail(&database, "verify_registration", 2);
    assert_eq!(ada.post(WAITS, &[("code", mail.text("code"))]).status, 303);
    assert!(ada.is_signed_in());
    assert_eq!(squatter.get(WAITS).status, 410);
    assert_eq!(squatter.post(WAITS, &[("code", to_ada.text("code"))]).status, 410);
    assert_eq!(squatter.post(&link(&to_ada), &[("password", OTHER_PASSWORD)]).status, 410);
    assert_eq!(squatter.login("ada@example.com", OTHER_PASSWORD).status, 422);
    assert_eq!(users(&database), 1);
}

#[test]
fn registering_the_email_of_another_person_gives_no_access_in_open_mode() {
    let (server, database) = site();
    let mut squatter = registered(&server, "ada@example.com");
    squatter.post("/account/email", &[("email", "squatter@example.com")]);
    let own = db_mail(&database, "change_email", 1);
    let to_ada = db_mail(&database, "verify_email", 1);
    // Ada has the link but not the password, so it does not verify the email: the account is not hers.
    let mut ada = server.browser();
    assert_eq!(ada.post(&link(&to_ada), &[("password", OTHER_PASSWORD)]).status, 422);
    assert_eq!(
        database.db_count("SELECT count(*) FROM users WHERE email_verified_at IS NOT NULL"),
        0
    );
    db_clear_rate_limits(&database);
    ada.post("/forgot-password", &[("email", "ada@example.com")]);
    let reset =
        format!("/reset-password/{}", db_mail(&database, "reset_password", 1).text("token"));
    assert_eq!(ada.post(&reset, &[("new_password", OTHER_PASSWORD)]).status, 303);
    assert_eq!(
        database.db_count("SELECT count(*) FROM users WHERE email_verified_at IS NOT NULL"),
        1
    );
    assert!(!squatter.is_signed_in());
    assert_eq!(squatter.login("ada@example.com", PASSWORD).status, 422);
    assert_eq!(squatter.post(&link(&own), &[("password", PASSWORD)]).status, 410);
    assert_eq!(ada.login("ada@example.com", OTHER_PASSWORD).status, 303);
    assert_eq!(users(&database), 1);
}

#[test]
fn in_open_mode_a_link_needs_the_session_or_the_password_and_a_code_the_session() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    assert!(ada.get("/account").body.contains("Confirm your email address"));
    let mail = db_mail(&database, "verify_email", 1);
    assert_eq!(mail.recipient, "ada@example.com");
    assert!(
        !ada.open(&link(&mail)).body.contains("name=\"password\""),
        "signed in, the page has only a button"
    );
    assert!(server.browser().open(&link(&mail)).body.contains("name=\"password\""));
    let answer =
        server.browser().post("/account/email/code", &[("verify_code", mail.text("code"))]);
    assert_eq!((answer.status, answer.location()), (303, "/login"));
    let verified = "SELECT count(*) FROM users WHERE email_verified_at IS NOT NULL";
    assert_eq!(database.db_count(verified), 0);
    // By link, in the session of the account.
    let answer = ada.post(&link(&mail), &[]);
    assert_eq!((answer.status, answer.location()), (303, "/account/email"));
    assert_eq!(database.db_count(verified), 1);
    assert!(!ada.get("/account").body.contains("Confirm your email address"));
    assert_eq!(ada.get(&link(&mail)).status, 410);
    // By link and password in another browser, which is then signed in.
    let mut bob = registered(&server, "bob@example.com");
    let mail = db_mail(&database, "verify_email", 2);
    let mut phone = server.browser();
    assert_eq!(phone.post(&link(&mail), &[("password", OTHER_PASSWORD)]).status, 422);
    assert_eq!(
        ada.post(&link(&mail), &[]).status,
        422,
        "the session of another user does not count"
    );
    db_clear_rate_limits(&database);
    assert_eq!(phone.post(&link(&mail), &[("password", PASSWORD)]).status, 303);
    assert!(phone.is_signed_in() && bob.is_signed_in());
    assert_eq!(database.db_count(verified), 2);
    // By code.
    let mut eve = registered(&server, "eve@example.com");
    let code = db_mail(&database, "verify_email", 3).text("code").to_owned();
    assert_eq!(bob.post("/account/email/code", &[("verify_code", &code)]).status, 422);
    assert_eq!(eve.post("/account/email/code", &[("verify_code", &code)]).status, 303);
    assert_eq!(database.db_count(verified), 3);
}

#[test]
fn a_new_verification_mail_invalidates_the_link_of_the_previous_one() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let first = db_mail(&database, "verify_email", 1);
    let answer = ada.post("/account/email/verify", &[]);
    assert_eq!((answer.status, answer.location()), (303, "/account/email"));
    let second = db_mail(&database, "verify_email", 2);
    assert_eq!(ada.post(&link(&first), &[]).status, 410);
    assert_eq!(ada.post("/account/email/code", &[("verify_code", first.text("code"))]).status, 422);
    assert_eq!(ada.post(&link(&second), &[]).status, 303);
    assert_eq!(ada.post("/account/email/verify", &[]).status, 303);
    assert_eq!(db_mails(&database).len(), 2, "no further mail is sent to a verified email");
}

#[test]
fn no_link_or_code_is_readable_in_the_database() {
    let (server, database) = verified_site();
    let mut ada = server.browser();
    register(&mut ada, "ada@example.com", PASSWORD);
    let mail = db_mail(&database, "verify_registration", 1);
    let ticket = ada.cookies["registration"].clone();
    let page = ada.get(WAITS);
    assert!(!page.body.contains(&ticket));
    let code = mail.text("code").replace('-', "");
    let dump: String = ["registrations", "email_tokens", "mail_outbox", "audit_events"]
        .iter()
        .flat_map(|table| database.db_texts(&format!("SELECT t::text FROM {table} t")))
        .collect();
    assert!(dump.len() > 500);
    let plain = database.db_texts(&format!(
        "SELECT encode(sha256('{code}'), 'hex') || ' ' || encode(sha256('{}'), 'hex')",
        mail.text("code")
    ));
    for secret in [mail.text("token"), &ticket, &code, mail.text("code"), PASSWORD] {
        assert!(!dump.contains(secret));
        assert!(!server.log().contains(secret));
    }
    for digest in plain[0].split(' ') {
        assert!(
            !dump.contains(digest),
            "an unkeyed digest of a code could be brute-forced before the code expires"
        );
    }
}

#[test]
fn expired_registrations_tokens_and_requests_are_purged_and_valid_ones_stay() {
    use frontdesk::user::purge;

    let (server, database) = verified_site();
    for email in ["ada@example.com", "eve@example.com"] {
        register(&mut server.browser(), email, PASSWORD);
    }
    drop(server);
    let server = Server::start(&database, &[]);
    registered(&server, "bob@example.com");
    registered(&server, "eva@example.com");
    drop(server);
    for sql in [
        "UPDATE registrations SET expires_at = now() WHERE email = 'ada@example.com'",
        "UPDATE email_tokens SET expires_at = now() WHERE email = 'bob@example.com'",
        "INSERT INTO recovery_requests (id, email_canonical, created_at)
         VALUES (gen_random_uuid(), 'old@example.com', now() - interval '25 hours'),
                (gen_random_uuid(), 'new@example.com', now() - interval '23 hours')",
    ] {
        database.db_execute(sql);
    }
    let purged = database.runtime.block_on(async {
        let mut connection = database.pool.acquire().await.unwrap();
        [
            purge::registrations(&mut connection, 100, 0).await.unwrap(),
            purge::email_tokens(&mut connection, 100, 0).await.unwrap(),
            purge::recovery_requests(&mut connection, 100, 0).await.unwrap(),
        ]
    });
    assert_eq!(purged, [1, 1, 1]);
    let left = "SELECT email FROM registrations UNION ALL SELECT email FROM email_tokens
                UNION ALL SELECT email_canonical FROM recovery_requests";
    assert_eq!(database.db_texts(left), ["eve@example.com", "eva@example.com", "new@example.com"]);
}
