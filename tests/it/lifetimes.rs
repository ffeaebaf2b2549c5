//! Every link and code works until the end of its lifetime, and not after it.

use crate::support::mail::{db_clear_rate_limits, db_mail};
use crate::support::{Browser, Database, PASSWORD, Server, registered};

/// What is used, and the status of a use that is not too late.
type Use = (String, Vec<(&'static str, String)>, u16);

/// A kind of link or code.
struct OneTime {
    name: &'static str,
    /// Its lifetime in minutes.
    minutes: u32,
    /// The table and the column with the end of the lifetime.
    ends: (&'static str, &'static str),
    /// Prepares it. Returns how it is used.
    issue: fn(&Server, &Database, &mut Browser) -> Use,
}

const EMAIL: &str = "ada@example.com";
const HOUR: u32 = 60;
const LINK: (&str, &str) = ("email_tokens", "expires_at");
const CODE: (&str, &str) = ("email_tokens", "code_expires_at");

const ALL: [OneTime; 8] = [
    OneTime {
        name: "link of a registration",
        minutes: 24 * HOUR,
        ends: ("registrations", "expires_at"),
        issue: |server, database, _| {
            let mail = db_register(server, database, &mut server.browser());
            (mail.0, vec![("password", PASSWORD.to_owned())], 303)
        },
    },
    OneTime {
        name: "code of a registration",
        minutes: 10,
        ends: ("registrations", "code_expires_at"),
        issue: |server, database, browser| {
            *browser = server.browser();
            let mail = db_register(server, database, browser);
            ("/verify-email".to_owned(), vec![("code", mail.1)], 303)
        },
    },
    OneTime {
        name: "link that verifies an email",
        minutes: 24 * HOUR,
        ends: LINK,
        issue: |_, database, browser| (db_verify(database, browser).0, Vec::new(), 303),
    },
    OneTime {
        name: "code that verifies an email",
        minutes: 10,
        ends: CODE,
        issue: |_, database, browser| {
            let code = db_verify(database, browser).1;
            ("/account/email/code".to_owned(), vec![("verify_code", code)], 303)
        },
    },
    OneTime {
        name: "link to a new email",
        minutes: 24 * HOUR,
        ends: LINK,
        issue: |_, database, browser| (db_change(database, browser).0, Vec::new(), 303),
    },
    OneTime {
        name: "code for a new email",
        minutes: 10,
        ends: CODE,
        issue: |_, database, browser| {
            let code = db_change(database, browser).1;
            ("/account/email/code".to_owned(), vec![("change_code", code)], 303)
        },
    },
    OneTime {
        name: "link that sets a password",
        minutes: 30,
        ends: LINK,
        issue: |server, database, _| {
            let mut stranger = server.browser();
            assert_eq!(stranger.post("/forgot-password", &[("email", EMAIL)]).status, 303);
            let token = db_mail(database, "reset_password", 1).text("token").to_owned();
            let fields = vec![("new_password", "copper kettle on a stove".to_owned())];
            (format!("/reset-password/{token}"), fields, 303)
        },
    },
    OneTime {
        name: "link that undoes a change of email",
        minutes: 7 * 24 * HOUR,
        ends: LINK,
        issue: |_, database, browser| {
            database.db_execute("UPDATE users SET email_verified_at = now()");
            let code = db_change(database, browser).1;
            let fields = [("change_code", code.as_str())];
            assert_eq!(browser.post("/account/email/code", &fields).status, 303);
            let token = db_mail(database, "email_changed", 1).text("undo_token").to_owned();
            (format!("/undo-email-change/{token}"), Vec::new(), 303)
        },
    },
];

/// Link and code of a mail.
type Secrets = (String, String);

fn secrets(database: &Database, kind: &str) -> Secrets {
    let mail = db_mail(database, kind, 1);
    (format!("/verify-email/{}", mail.text("token")), mail.text("code").to_owned())
}

fn db_register(server: &Server, database: &Database, browser: &mut Browser) -> Secrets {
    let verified = Server::start(database, &[("FRONTDESK_REGISTRATION", "verified")]);
    let mut registering = verified.browser();
    let fields = [("email", "new@example.com"), ("display_name", "New"), ("password", PASSWORD)];
    assert_eq!(registering.post("/register", &fields).status, 303);
    let secrets = secrets(database, "verify_registration");
    *browser = registering.on_server(&server.addr);
    secrets
}

fn db_verify(database: &Database, browser: &mut Browser) -> Secrets {
    database.db_execute("UPDATE users SET email_verified_at = NULL");
    assert_eq!(browser.post("/account/email/verify", &[]).status, 303);
    secrets(database, "verify_email")
}

fn db_change(database: &Database, browser: &mut Browser) -> Secrets {
    assert_eq!(browser.post("/account/email", &[("email", "ada@new.example.com")]).status, 303);
    secrets(database, "change_email")
}

#[test]
fn every_link_and_code_works_until_its_lifetime_is_over() {
    let database = Database::new();
    let server = Server::start(&database, &[]);
    for one in ALL {
        for is_late in [false, true] {
            for table in ["users", "registrations", "mail_outbox"] {
                database.db_execute(&format!("DELETE FROM {table}"));
            }
            db_clear_rate_limits(&database);
            let mut browser = registered(&server, EMAIL);
            for table in ["mail_outbox", "mail_limits"] {
                database.db_execute(&format!("DELETE FROM {table}"));
            }
            let (path, fields, status) = (one.issue)(&server, &database, &mut browser);
            // All of the lifetime except a minute passes, or a minute more.
            let (table, column) = one.ends;
            let minutes = if is_late { one.minutes + 1 } else { one.minutes - 1 };
            let aged = database.db_execute(&format!(
                "UPDATE {table} SET created_at = created_at - interval '{minutes} min',
                                    {column} = {column} - interval '{minutes} min'"
            ));
            assert!(aged > 0, "{}", one.name);
            let fields: Vec<(&str, &str)> =
                fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let used = browser.post(&path, &fields).status;
            let expected = if is_late { &[410, 422][..] } else { &[status][..] };
            assert!(expected.contains(&used), "{}, late: {is_late}: {used}", one.name);
        }
    }
}
