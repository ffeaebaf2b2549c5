//! The mail of a site: from handlers, hooks, jobs and commands, in their transactions, within limits.

use std::fs;
use std::path::Path;

use crate::hooks::{BOB, SITE};
use crate::support::mail::db_mails;
use crate::support::server::Setting;
use crate::support::smtp::{Smtp, Tls, until};
use crate::support::website::{run, start};
use crate::support::{Database, PASSWORD, registered};

/// As in `hooks.rs`: the tables of Frontdesk are in `public`, those of the site in `shop`.
const SETTINGS: [Setting<'static>; 5] = [
    ("SHOP_GREETING", "Hello"),
    ("FRONTDESK_SCHEMA", "public"),
    ("FRONTDESK_SITE_SCHEMA", "shop"),
    ("SITE_MAILS", "1"),
    ("FRONTDESK_REGISTRATION", "open"),
];

/// The texts of the site's mails in the outbox, with their recipients, sorted.
fn db_texts(database: &Database) -> Vec<String> {
    let mails = db_mails(database).into_iter().filter(|mail| mail.kind == "reminder");
    let mut texts: Vec<String> = mails
        .map(|mail| format!("{} {}", mail.recipient, mail.data["data"]["text"].as_str().unwrap()))
        .collect();
    texts.sort();
    texts
}

fn import(database: &Database, lines: &str) -> (Option<i32>, String) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("site-mail-users.csv");
    fs::write(&file, format!("email,email_verified\n{lines}")).unwrap();
    run(SITE, database, &["user", "import", file.to_str().unwrap()], &SETTINGS)
}

#[test]
fn a_site_sends_mail_from_handlers_hooks_jobs_and_commands_if_their_transaction_commits() {
    let database = Database::empty();
    assert_eq!(run(SITE, &database, &["migrate", "run"], &SETTINGS).0, Some(0));
    // The statements of the mail find Frontdesk's tables.
    for table in ["mail_outbox", "mail_limits"] {
        database.db_execute(&format!("CREATE TABLE shop.{table} (other integer)"));
    }
    let imported =
        import(&database, "ada@example.com,true\njob@example.com,true\neve@example.com,false\n");
    assert_eq!(imported.0, Some(0), "{}", imported.1);
    assert_eq!(db_texts(&database), ["ada@example.com welcome", "job@example.com welcome"]);
    let undone = import(&database, "undone@example.com,true\n");
    assert_eq!(undone.0, Some(1), "{}", undone.1);
    assert_eq!(db_texts(&database).len(), 2);
    for (email, outcome) in [
        ("ada@example.com", "Queued"),
        ("eve@example.com", "Unverified"),
        ("nobody@example.com", "NoSuchUser"),
    ] {
        let (code, text) = run(SITE, &database, &["remind", email], &SETTINGS);
        assert_eq!((code, text.trim_end()), (Some(0), outcome), "{email}");
    }

    let smtp = Smtp::start(Tls::Upgraded);
    let of_smtp = smtp.settings();
    let of_smtp: Vec<Setting<'_>> =
        of_smtp.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = start(SITE, &database, &[&SETTINGS[..], &of_smtp].concat());
    let mut bob = registered(&server, BOB);
    database.db_execute(&format!(
        "UPDATE public.users SET email_verified_at = now() WHERE email = '{BOB}'"
    ));
    assert_eq!(bob.post("/remind", &[]).body, "Queued");
    assert_eq!(bob.post("/remind-and-fail", &[]).status, 400);
    assert_eq!(bob.post("/unknown-mail", &[]).status, 500, "a mail of Frontdesk");
    until("the reason is in the log", || {
        server.log().contains("the site has no mail new_device: it needs templates/mail/new_device")
    });
    assert!(database.db_count("SELECT count(*) FROM shop.ticks") > 0);
    assert_eq!(server.browser().login(BOB, PASSWORD).status, 303);
    let texts = |email: &str| -> Vec<String> {
        let mails = smtp.received_by(email).into_iter();
        let reminders = mails.filter(|mail| mail.header("Subject") == "Reminder from Shop");
        reminders.map(|mail| mail.content).collect()
    };
    until("all were received", || {
        let counts = ["ada@example.com", "job@example.com", BOB].map(|email| texts(email).len());
        assert!(counts[0] <= 2 && counts[1] <= 2 && counts[2] <= 3, "{counts:?}");
        // Bob's two sign-ins: at the registration the email was not verified, unless the hook came later.
        counts[0] == 2 && counts[1] == 2 && counts[2] >= 2
    });
    let has = |email: &str, text: &str| {
        texts(email).iter().any(|mail| mail.contains(&format!("Remember: {text}")))
    };
    assert!(has("ada@example.com", "welcome") && has("ada@example.com", "command"));
    assert!(has("job@example.com", "welcome") && has("job@example.com", "job"));
    assert!(has(BOB, "greeting") && has(BOB, "&lt;b&gt;Milk&lt;/b&gt;"), "{:?}", texts(BOB));
    assert!(!has(BOB, "never sent") && texts("eve@example.com").is_empty());
}

#[test]
fn mail_of_a_site_is_limited_and_shown_in_development() {
    let database = Database::empty();
    let server = start(SITE, &database, &SETTINGS);
    let mut bob = registered(&server, BOB);
    assert_eq!(bob.post("/remind", &[]).body, "Unverified");
    database.db_execute("UPDATE users SET email_verified_at = now()");
    let mut outcomes: Vec<String> = (0..25).map(|_| bob.post("/remind", &[]).body).collect();
    outcomes.dedup();
    assert_eq!(outcomes, ["Queued", "OverLimit"]);
    let counted = database.db_count("SELECT count(*) FROM mail_outbox WHERE kind = 'reminder'");
    assert!((19..=21).contains(&counted), "{counted}");
    let days = "SELECT count(*) FROM mail_outbox WHERE kind = 'reminder'
                   AND not_after BETWEEN created_at + interval '47 hours' AND created_at + interval '49 hours'";
    assert_eq!(database.db_count(days), counted);
    let samples = server.browser().get("/dev/templates").body;
    assert!(samples.contains("mail/reminder"), "{samples}");
    let frame = server.browser().get("/dev/templates/frame?sample=mail%2Freminder").body;
    assert!(frame.contains("Remember: the milk"), "{frame}");
    let check = run(SITE, &database, &["template", "check"], &SETTINGS);
    assert_eq!(check.0, Some(0), "{}", check.1);
}
