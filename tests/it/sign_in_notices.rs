//! Mail about failed sign-ins, and about a sign-in after them (ASVS 5.0 V6.3.5).

use serde_json::Value;

use crate::support::mail::{Mail, db_clear_rate_limits, db_mail, db_mails};
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

const ADA: &str = "ada@example.com";

/// A browser of an account with a verified email.
fn verified(server: &Server, database: &Database) -> Browser {
    let browser = registered(server, ADA);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    browser
}

fn fail(server: &Server, times: usize) -> Vec<u16> {
    (0..times).map(|_| server.browser().login(ADA, OTHER_PASSWORD).status).collect()
}

/// Asserts that the mail says when, from which browser and from which IP address.
fn assert_has_place_and_time(mail: &Mail) {
    assert_eq!(mail.recipient, ADA);
    assert_eq!(mail.data["ip_address"], "127.0.0.1", "{}", mail.data);
    for field in ["at", "device"] {
        assert!(mail.data[field].is_string(), "{field}: {}", mail.data);
    }
}

#[test]
fn the_owner_is_told_when_a_wait_after_failed_sign_ins_begins_at_most_once_a_day() {
    let (server, database) = site();
    verified(&server, &database);
    assert_eq!(fail(&server, 4), [422; 4]);
    assert!(db_mails(&database).iter().all(|mail| mail.kind == "verify_email"));
    assert_eq!(fail(&server, 2), [422, 429]);
    assert_has_place_and_time(&db_mail(&database, "failed_sign_ins", 1));
    for _ in 0..2 {
        db_clear_rate_limits(&database);
        assert_eq!(fail(&server, 6).last(), Some(&429));
    }
    // The mail is enqueued in the background, so wait for one that is enqueued after it.
    db_clear_rate_limits(&database);
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 303);
    db_mail(&database, "sign_in_after_failures", 1);
    db_mail(&database, "failed_sign_ins", 1);
    // A day later.
    database.db_execute("UPDATE mail_limits SET full_at = full_at - interval '1 day'");
    assert_eq!(fail(&server, 6).last(), Some(&429));
    db_mail(&database, "failed_sign_ins", 2);
}

#[test]
fn the_owner_is_notified_of_wrong_passwords_in_a_session() {
    for path in ["/account/confirm", "/account/password"] {
        let (server, database) = site();
        let mut home = verified(&server, &database);
        let wrong = [
            ("password", "not the password"),
            ("current_password", "not the password"),
            ("new_password", "a quiet corner with a lamp"),
        ];
        let statuses: Vec<u16> = (0..12).map(|_| home.post(path, &wrong).status).collect();
        assert_eq!((statuses[0], statuses.last()), (422, Some(&429)), "{path}: {statuses:?}");
        let mail = db_mail(&database, "failed_sign_ins", 1);
        assert_has_place_and_time(&mail);
        assert_eq!(mail.data["in_session"], true, "{path}");
    }
}

#[test]
fn the_owner_is_told_of_a_sign_in_after_five_failures_also_on_a_known_device() {
    let (server, database) = site();
    let mut home = verified(&server, &database);
    let told = || -> Vec<Value> {
        let mails = db_mails(&database);
        let told = mails.iter().filter(|mail| mail.kind == "sign_in_after_failures");
        told.map(|mail| mail.data["failures"].clone()).collect()
    };
    assert_eq!(fail(&server, 4), [422; 4]);
    assert_eq!(home.login(ADA, PASSWORD).status, 303);
    assert_eq!(told(), [] as [Value; 0], "four failures are a user who forgot the password");
    for _ in 0..2 {
        db_clear_rate_limits(&database);
        assert_eq!(fail(&server, 4), [422; 4]);
    }
    db_clear_rate_limits(&database);
    assert_eq!(home.login(ADA, PASSWORD).status, 303);
    assert_eq!(told(), [8]);
    assert_has_place_and_time(&db_mail(&database, "sign_in_after_failures", 1));
    assert_eq!(home.login(ADA, PASSWORD).status, 303);
    assert_eq!(told(), [8], "counted from the last sign-in on");
    // On a new device, it replaces the notice of the device.
    for _ in 0..2 {
        db_clear_rate_limits(&database);
        assert_eq!(fail(&server, 3), [422; 3]);
    }
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 303);
    assert_eq!(told(), [8, 6]);
    assert!(db_mails(&database).iter().all(|mail| mail.kind != "new_device"));
}
