//! Mail that nobody asked for: what an unverified email gets, limits per recipient for every kind of mail, and
//! mail that is no longer useful.

use std::collections::{BTreeMap, BTreeSet};

use frontdesk::config::SecretKeys;
use frontdesk::crypto::seal::Sealer;
use frontdesk::mail::outbox;
use sqlx::{Connection as _, PgConnection};

use crate::mail::{Message, mailing, reset};
use crate::support::breakpoint::until;
use crate::support::mail::{db_clear_rate_limits, db_mail, db_mails};
use crate::support::server::KEY;
use crate::support::smtp::{Smtp, Tls, sealer};
use crate::support::{
    Browser, Database, OTHER_PASSWORD, PASSWORD, registered, site, verified_site,
};

#[path = "../../src/mail/samples.rs"]
mod samples;

const ADA: &str = "ada@example.com";
/// How often each message is enqueued.
const FLOOD: usize = 60;

/// How many mails a recipient has in the outbox, and how many notices these stand for.
fn db_outbox(database: &Database, recipient: &str) -> (i64, i64) {
    let of = |what: &str| {
        database.db_count(&format!(
            "SELECT {what}::bigint FROM mail_outbox WHERE recipient = '{recipient}'"
        ))
    };
    (of("count(*)"), of("coalesce(sum(coalesce(combined, 1)), 0)"))
}

/// Enqueues `message` [`FLOOD`] times, over two connections at the same time.
fn db_flood(database: &Database, recipient: &str, message: &Message) {
    database.runtime.block_on(async {
        let half = || async {
            let sealer = sealer();
            let mut connection = PgConnection::connect(&database.url).await.unwrap();
            for _ in 0..FLOOD / 2 {
                let mut transaction = connection.begin().await.unwrap();
                outbox::enqueue(&mut transaction, &sealer, None, recipient, message).await.unwrap();
                transaction.commit().await.unwrap();
            }
        };
        tokio::join!(half(), half());
    });
}

#[test]
fn every_kind_of_mail_has_a_limit_per_recipient_and_notices_are_combined() {
    let database = Database::new();
    // The kinds whose mail over the limit is not sent: those that need nothing but the email of the recipient or
    // carry a link, and the farewells.
    let dropped = BTreeSet::from([
        "verify_registration",
        "already_registered",
        "verify_email",
        "change_email",
        "reset_password",
        "new_password_required",
        "account_created",
        "invitation",
        "failed_sign_ins",
        "address_removed",
        "account_deleted",
    ]);
    let by_kind: BTreeMap<String, Message> = samples::samples("Ada")
        .into_iter()
        .map(|message| (message.kind().to_owned(), message))
        .collect();
    for (number, (kind, message)) in by_kind.iter().enumerate() {
        let recipient = format!("user{number}@example.com");
        db_flood(&database, &recipient, message);
        let (mails, notices) = db_outbox(&database, &recipient);
        assert!((1..=20).contains(&mails), "{kind}: {mails}");
        let expected = if dropped.contains(kind.as_str()) { mails } else { FLOOD as i64 };
        assert_eq!(notices, expected, "{kind}");
        // At most one mail is held back, and for an hour at most.
        let held = format!(
            "SELECT count(*) FROM mail_outbox
              WHERE recipient = '{recipient}' AND next_attempt_at > now()
                AND next_attempt_at <= now() + interval '1 hour'"
        );
        assert_eq!(database.db_count(&held), i64::from(notices > mails), "{kind}");
    }
    let endless = "SELECT count(*) FROM mail_outbox WHERE not_after IS NULL OR not_after < now()";
    assert_eq!(database.db_count(endless), 0);
    let plain = "SELECT count(*) FROM mail_limits l WHERE l::text LIKE '%example%'";
    assert_eq!(database.db_count(plain), 0);
}

#[test]
fn servers_share_the_limits_during_a_key_rotation() {
    let database = Database::new();
    let other = KEY.chars().rev().collect::<String>();
    database.runtime.block_on(async {
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        for keys in [format!("{KEY},{other}"), format!("{other},{KEY}")] {
            let sealer = Sealer::new(SecretKeys::parse(&keys).unwrap().as_slice());
            outbox::enqueue(&mut connection, &sealer, None, ADA, &reset("Ada")).await.unwrap();
        }
    });
    assert_eq!(database.db_count("SELECT count(DISTINCT recipient_digest) FROM mail_limits"), 1);
}

#[test]
fn a_flood_over_all_topics_suppresses_no_security_notice_and_no_reset_link() {
    let database = Database::new();
    for message in samples::samples("Ada").iter().filter(|message| {
        !["password_changed", "reset_password", "email_changed"].contains(&message.kind())
    }) {
        db_flood(&database, ADA, message);
    }
    let (mails, _) = db_outbox(&database, ADA);
    assert!(mails <= 70, "{mails}");
    for (message, due) in samples::samples("Ada").iter().filter_map(|message| {
        let due = match message.kind() {
            "password_changed" => false,
            "reset_password" | "email_changed" => true,
            _ => return None,
        };
        Some((message, due))
    }) {
        database.db_enqueue(ADA, message);
        let kind = message.kind();
        let found = format!(
            "SELECT count(*) FROM mail_outbox
              WHERE kind = '{kind}' AND (next_attempt_at <= now()) = {due}"
        );
        assert!(database.db_count(&found) > 0, "{kind}");
    }
}

#[test]
fn an_unverified_email_gets_verification_mail_only_and_no_text_that_its_user_chose() {
    let (server, database) = site();
    let mut browser = server.browser();
    let fields = [("email", ADA), ("display_name", "Pay at 555-0100"), ("password", PASSWORD)];
    assert_eq!(browser.post("/register", &fields).status, 303);
    for _ in 0..8 {
        assert_eq!(server.browser().login(ADA, PASSWORD).status, 303);
    }
    for _ in 0..6 {
        server.browser().login(ADA, OTHER_PASSWORD);
    }
    db_clear_rate_limits(&database);
    for _ in 0..3 {
        assert_eq!(browser.login(ADA, PASSWORD).status, 303);
        assert_eq!(browser.post("/account/delete", &[]).status, 303);
        assert_eq!(browser.login(ADA, PASSWORD).status, 303);
        assert_eq!(browser.post("/account/delete/cancel", &[]).status, 303);
        db_clear_rate_limits(&database);
    }
    let change = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(browser.post("/account/password", &change).status, 303);
    assert_eq!(browser.post("/account/email/verify", &[]).status, 303);
    // Someone else enters the email as their own, and someone forgets the password.
    let mut eve = registered(&server, "eve@example.com");
    assert_eq!(eve.post("/account/email", &[("email", ADA)]).status, 303);
    server.browser().post("/forgot-password", &[("email", ADA)]);
    db_mail(&database, "reset_password", 1);
    let mails = db_mails(&database);
    let to_ada = mails.iter().filter(|mail| mail.recipient == ADA);
    let kinds: Vec<&str> = to_ada.clone().map(|mail| mail.kind.as_str()).collect();
    assert_eq!(kinds, ["verify_email", "verify_email", "reset_password"]);
    for mail in to_ada {
        assert!(!mail.data.to_string().contains("555"), "{}: {}", mail.kind, mail.data);
    }
    // Neither its change nor its deletion is mailed to the email.
    db_clear_rate_limits(&database);
    assert_eq!(browser.post("/account/email", &[("email", "new@example.com")]).status, 303);
    let code = db_mail(&database, "change_email", 1).text("code").to_owned();
    assert_eq!(browser.post("/account/email/code", &[("change_code", &code)]).status, 303);
    assert_eq!(db_outbox(&database, ADA).0, 3);
}

#[test]
fn the_deletion_of_an_account_is_not_mailed_to_an_unverified_email() {
    let (server, database) = site();
    registered(&server, ADA);
    registered(&server, "bob@example.com");
    database.db_execute("UPDATE users SET email_verified_at = now() WHERE email LIKE 'bob%'");
    database.db_execute("DELETE FROM mail_outbox");
    for email in [ADA, "bob@example.com"] {
        let deleted = crate::command_line::run(&database, &["user", "delete", email, "--yes"], "");
        assert_eq!(deleted.code, 0, "{}", deleted.error);
    }
    let mails = "SELECT kind || ' ' || recipient FROM mail_outbox";
    assert_eq!(database.db_texts(mails), ["account_deleted bob@example.com"]);
}

#[test]
fn sign_ins_beyond_the_limit_are_one_mail_that_counts_them() {
    let (server, database) = site();
    registered(&server, ADA);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    database.db_execute("DELETE FROM mail_outbox");
    for _ in 0..12 {
        assert_eq!(server.browser().login(ADA, PASSWORD).status, 303);
    }
    assert_eq!(db_outbox(&database, ADA), (7, 12));
    // An hour later.
    let smtp = Smtp::start(Tls::Upgraded);
    let _mailing = mailing(&database, &smtp, &[]);
    database.db_execute("UPDATE mail_outbox SET state = 'waiting', next_attempt_at = now()");
    until(|| database.db_mails("sent") == 7);
    let subject = |mail: &crate::support::smtp::ReceivedMail| mail.header("Subject").to_owned();
    let subjects: BTreeSet<String> = smtp.received_by(ADA).iter().map(subject).collect();
    let expected =
        ["6 new sign-ins to your account at Frontdesk", "New sign-in to your account at Frontdesk"];
    assert_eq!(subjects.into_iter().collect::<Vec<_>>(), expected);
}

/// Requests a change of email for `browser`.
fn request_change(browser: &mut Browser, email: &str) -> String {
    let response = browser.post("/account/email", &[("email", email)]);
    assert_eq!(response.status, 303);
    browser.get("/account/email").body
}

#[test]
fn several_accounts_together_send_five_change_mails_to_an_email_and_learn_nothing_from_it() {
    let (server, database) = site();
    registered(&server, "bob@example.com");
    registered(&server, "unverified@example.com");
    database.db_execute("UPDATE users SET email_verified_at = now() WHERE email LIKE 'bob%'");
    let mut pages = Vec::new();
    for (new_email, sent) in
        [("stranger@example.com", 5), ("bob@example.com", 5), ("unverified@example.com", 0)]
    {
        let mut texts = Vec::new();
        for number in 0..3 {
            let mut eve = registered(&server, &format!("eve{number}-{new_email}"));
            for _ in 0..3 {
                texts.push(
                    request_change(&mut eve, new_email).contains("We&#39;ve already sent several"),
                );
                db_clear_rate_limits(&database);
            }
            // The last link of an account whose request was over the limit stays valid.
            let links = format!(
                "SELECT count(*) FROM email_tokens t JOIN users u ON u.id = t.user_id
                  WHERE t.purpose = 'change_email' AND u.email LIKE 'eve{number}-{new_email}'"
            );
            assert_eq!(database.db_count(&links), i64::from(number < 2), "{number}");
        }
        pages.push(texts);
        let mails = format!(
            "SELECT count(*) FROM mail_outbox
              WHERE recipient = '{new_email}' AND kind IN ('change_email', 'already_registered')"
        );
        assert_eq!(database.db_count(&mails), sent, "{new_email}");
    }
    assert_eq!(pages[0], [false, false, false, false, false, true, true, true, true]);
    assert_eq!(pages[0], pages[1], "the same for an email with and without an account");
    assert_eq!(pages[0], pages[2], "the same for an account with an unverified email");
}

#[test]
fn a_plus_tag_gives_a_mailbox_no_limit_of_its_own_and_its_account_keeps_its_notices() {
    let (server, database) = site();
    for number in 0..4 {
        let mut eve = registered(&server, &format!("eve{number}@example.com"));
        for tag in 0..5 {
            request_change(&mut eve, &format!("victim+{number}{tag}@plus.example"));
            db_clear_rate_limits(&database);
        }
    }
    let mails = "SELECT count(*) FROM mail_outbox WHERE recipient LIKE 'victim%'";
    assert_eq!(database.db_count(mails), 5);
    // The owners of two emails may be two people, so their notices are not combined with each other.
    let samples = samples::samples("Ada");
    let changed = samples.iter().find(|message| message.kind() == "password_changed").unwrap();
    for recipient in ["ada+a@plus.example", "ada+b@plus.example"] {
        db_flood(&database, recipient, changed);
    }
    for recipient in ["ada+a@plus.example", "ada+b@plus.example"] {
        assert_eq!(db_outbox(&database, recipient), (6, FLOOD as i64), "{recipient}");
    }
}

#[test]
fn an_unverified_email_gets_twenty_mails_a_day_over_all_kinds() {
    let (server, database) = site();
    registered(&server, ADA);
    let flood = || {
        for message in samples::samples("Ada") {
            db_flood(&database, ADA, &message);
        }
        db_outbox(&database, ADA).0
    };
    assert_eq!(flood(), 12);
    // A day later.
    database.db_execute("UPDATE mail_limits SET full_at = full_at - interval '1 day'");
    assert_eq!(flood(), 20);
    let kinds = "SELECT count(*) FROM mail_outbox
                  WHERE kind NOT IN ('verify_registration', 'verify_email', 'change_email', 'reset_password',
                                     'new_password_required', 'account_created', 'invitation')";
    assert_eq!(database.db_count(kinds), 0);
    // After the verification its limits are those of every email.
    database.db_execute("UPDATE users SET email_verified_at = now()");
    assert!(flood() > 40);
}

#[test]
fn the_last_link_of_a_registration_works_until_the_next_mail_and_its_expiry_moves_with_it() {
    let (server, database) = verified_site();
    let mut browser = server.browser();
    let fields = [("email", ADA), ("display_name", "Ada"), ("password", PASSWORD)];
    assert_eq!(browser.post("/register", &fields).status, 303);
    let first = db_mail(&database, "verify_registration", 1);
    let link = format!("/verify-email/{}", first.text("token"));
    // The mail of the next request waits, and the registration ends in an hour.
    database.db_execute(
        "UPDATE throttles SET free_at = now() + interval '5 minutes' WHERE action = 'register_mail'",
    );
    database.db_execute("UPDATE registrations SET expires_at = now() + interval '1 hour'");
    let answer = browser.post("/verify-email", &[("again", "on")]);
    assert_eq!(answer.status, 303);
    let cookie = answer
        .cookies()
        .iter()
        .any(|cookie| cookie.starts_with("registration=") && cookie.contains("Max-Age=86400"));
    assert!(cookie, "{answer:?}");
    assert_eq!(browser.open(&link).status, 200);
    assert_eq!(browser.post("/verify-email", &[("code", "0000-0000")]).status, 422);
    database.db_execute("DELETE FROM throttles WHERE action = 'register_mail'");
    let second = db_mail(&database, "verify_registration", 2);
    assert_eq!(browser.open(&link).status, 410);
    let left =
        "SELECT round(extract(epoch FROM expires_at - now()) / 60)::bigint FROM registrations";
    assert_eq!(database.db_count(left), 24 * 60);
    let link = format!("/verify-email/{}", second.text("token"));
    assert_eq!(browser.open(&link).status, 200);
}

#[test]
fn the_last_verification_link_works_when_no_further_mail_is_sent() {
    let (server, database) = site();
    let mut browser = registered(&server, ADA);
    let mut answers = Vec::new();
    for _ in 0..12 {
        browser.post("/account/email/verify", &[]);
        let page = browser.get("/account/email").body;
        answers.push(page.contains("We&#39;ve already sent several"));
        db_clear_rate_limits(&database);
    }
    // One was sent at registration.
    assert_eq!(answers.iter().filter(|over_limit| !**over_limit).count(), 9);
    let last = db_mail(&database, "verify_email", 10);
    let link = format!("/verify-email/{}", last.text("token"));
    assert_eq!(browser.post(&link, &[]).status, 303);
}

#[test]
fn mail_is_useful_as_long_as_its_link_and_not_sent_after_that() {
    let (server, database) = site();
    let mut browser = registered(&server, ADA);
    server.browser().post("/forgot-password", &[("email", ADA)]);
    db_mail(&database, "reset_password", 1);
    assert_eq!(browser.post("/account/email", &[("email", "new@example.com")]).status, 303);
    let equal = "SELECT count(*) FROM mail_outbox m JOIN email_tokens t
                     ON t.purpose = m.kind AND t.expires_at = m.not_after";
    assert_eq!(database.db_count(equal), 3, "verify_email, reset_password, change_email");
    drop(server);
    database.db_execute("DELETE FROM mail_outbox");
    database.db_enqueue("late@example.com", &reset("Ada"));
    database.db_execute("UPDATE mail_outbox SET not_after = now()");
    database.db_enqueue("bob@example.com", &reset("Bob"));
    let smtp = Smtp::start(Tls::Upgraded);
    let _server = mailing(&database, &smtp, &[]);
    until(|| smtp.received_by("bob@example.com").len() == 1);
    let listed = "SELECT state || ': ' || last_error FROM mail_outbox WHERE recipient LIKE 'late%'";
    until(|| database.db_mails("failed") == 1);
    let listed = database.db_texts(listed).remove(0);
    assert!(listed.starts_with("failed: not sent in time"), "{listed}");
    assert_eq!(smtp.received().len(), 1);
}
