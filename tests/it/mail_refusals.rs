//! What mail servers refuse: refusals that pass, and mailboxes that do not exist.

use serde_json::Value;

use crate::mail::{frontdesk, mailing, reset};
use crate::support::Database;
use crate::support::smtp::{Smtp, Tls, until};

/// Makes waiting mail due immediately.
const DUE: &str = "UPDATE mail_outbox SET next_attempt_at = now() WHERE state = 'waiting'";

#[test]
fn refusals_that_pass_are_retried_and_bounces_are_final() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let replies = [
        ("quota", "552 5.2.2 The mailbox is over quota", "waiting"),
        ("busy", "550 4.7.1 Try again", "waiting"),
        ("rate", "550 5.7.1 Your sending rate is too high", "waiting"),
        ("many", "554 Too many messages", "waiting"),
        ("grey", "550 Greylisted", "waiting"),
        ("over", "550 5.1.1 The email account that you tried to reach is over quota", "waiting"),
        ("disabled", "550 5.1.1 recipient temporarily disabled, quota", "waiting"),
        ("allocation", "550 5.2.1 mailbox over its storage allocation", "waiting"),
        ("word", "550 Overquota", "waiting"),
        ("system", "552 Insufficient system storage", "waiting"),
        ("bare", "552 Aborted", "waiting"),
        ("hour", "554 5.7.1 Messages per hour limit", "waiting"),
        ("reputation", "550 5.7.1 very low reputation of the sending IP", "waiting"),
        ("gone", "550 5.1.1 There is nobody with that name", "failed"),
        ("unknown", "550 User unknown", "failed"),
        ("odd", "550 mailbox unavailable", "failed"),
    ];
    for (name, reply, _) in replies {
        smtp.reply_to(&format!("{name}@example.com"), reply);
        database.db_enqueue(&format!("{name}@example.com"), &reset("Ada"));
    }
    let _server = mailing(&database, &smtp, &[]);
    until("each was tried", || {
        database.db_count("SELECT count(*) FROM mail_outbox WHERE last_error IS NOT NULL")
            == replies.len() as i64
    });
    for (name, reply, state) in replies {
        let found = database.db_texts(&format!(
            "SELECT state || ': ' || last_error FROM mail_outbox WHERE recipient = '{name}@example.com'"
        ));
        assert_eq!(found, [format!("{state}: {reply}")]);
    }
    let suppressed = "SELECT email_canonical FROM suppressed_recipients ORDER BY 1";
    assert_eq!(database.db_texts(suppressed), ["gone@example.com", "unknown@example.com"]);
}

#[test]
fn a_bounced_recipient_gets_no_mail_until_the_suppression_ends_or_an_operator_ends_it() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let server = mailing(&database, &smtp, &[]);
    let run = |arguments: &[&str]| frontdesk(&database, &[], arguments);
    database.db_enqueue("refuse-ada@example.com", &reset("Ada"));
    until("the mail bounces", || database.db_mails("failed") == 1);
    assert_eq!(smtp.replies("550"), 1);
    let days = "SELECT round(extract(epoch FROM suppressed_until - now()) / 86400)::bigint FROM suppressed_recipients";
    assert_eq!(database.db_count(days), 1);

    // The email is compared in its canonical form.
    database.db_enqueue("Refuse-Ada@example.com", &reset("Ada"));
    until("the second one is not sent", || database.db_mails("failed") == 2);
    assert_eq!(smtp.replies("550"), 1, "the mail server was not asked");
    let note = "SELECT last_error FROM mail_outbox ORDER BY created_at DESC LIMIT 1";
    assert!(database.db_texts(note)[0].contains("suppressed"), "{:?}", database.db_texts(note));
    let (code, out, _) = run(&["mail", "list", "--suppressed", "--json"]);
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &listed[0]["email"]), (0, &Value::from("refuse-ada@example.com")));
    assert_eq!((&listed[0]["reason"], &listed[0]["bounces"]), (&"bounced".into(), &1.into()));

    // After the time, one more mail is tried, and its bounce suppresses for twice as long.
    database.db_execute("UPDATE suppressed_recipients SET suppressed_until = now()");
    database.db_enqueue("refuse-ada@example.com", &reset("Ada"));
    until("the third one bounces", || smtp.replies("550") == 2 && database.db_mails("failed") == 3);
    assert_eq!(database.db_count(days), 2);

    assert_eq!(run(&["mail", "unsuppress", "refuse-ada@example.com"]).0, 0);
    assert_eq!(run(&["mail", "unsuppress", "refuse-ada@example.com"]).0, 3, "it is not suppressed");
    assert!(!server.log().contains("refuse-ada"), "{}", server.log());
}

#[test]
fn operators_suppress_a_recipient_and_the_erasure_of_an_account_ends_it() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let server = mailing(&database, &smtp, &[]);
    let run = |arguments: &[&str]| frontdesk(&database, &[], arguments);
    crate::support::registered(&server, "ada@example.com");
    until("her first mail is sent", || database.db_mails("waiting") == 0);
    let sent = smtp.received().len();
    assert_eq!(run(&["mail", "suppress", "Ada@example.com"]).0, 0);
    assert_eq!(run(&["mail", "suppress", "ada@example.com"]).0, 3, "it is already suppressed");
    assert_eq!(run(&["mail", "suppress", "nonsense"]).0, 2);
    database.db_enqueue("ada@example.com", &reset("Ada"));
    until("the mail is not sent", || database.db_mails("failed") == 1);
    assert_eq!(smtp.received().len(), sent);
    let (_, table, _) = run(&["mail", "list", "--suppressed"]);
    assert!(table.contains("ada@example.com") && table.contains("operator"), "{table}");
    database.db_execute("UPDATE users SET email_verified_at = now()");
    assert_eq!(run(&["user", "delete", "ada@example.com", "--yes"]).0, 0);
    assert_eq!(database.db_count("SELECT count(*) FROM suppressed_recipients"), 0);
    // Neither is the notice of the deletion sent.
    assert_eq!(database.db_count("SELECT count(*) FROM mail_outbox"), 0);

    // A recipient that became another account's former email is deleted with that account.
    database.db_execute(
        "INSERT INTO users (id, email, email_canonical, display_name) VALUES
         (gen_random_uuid(), 'bob@example.com', 'bob@example.com', 'Bob')",
    );
    database.db_execute(
        "INSERT INTO suppressed_recipients (email_canonical, user_id, reason, suppressed_until)
         SELECT 'former@example.com', id, 'bounced', now() + interval '1 day' FROM users",
    );
    assert_eq!(run(&["user", "delete", "bob@example.com", "--yes"]).0, 0);
    assert_eq!(database.db_count("SELECT count(*) FROM suppressed_recipients"), 0);
    drop(server);
}

#[test]
fn a_refusal_that_passes_is_retried_until_the_mail_is_sent() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    smtp.reply_to("ada@example.com", "552 5.2.2 over quota");
    let _server = mailing(&database, &smtp, &[]);
    database.db_enqueue("ada@example.com", &reset("Ada"));
    until("it is refused", || {
        database.db_count("SELECT count(*) FROM mail_outbox WHERE last_error IS NOT NULL") == 1
    });
    smtp.reply_to("ada@example.com", "250 OK");
    database.db_execute(DUE);
    until("it is sent", || database.db_mails("sent") == 1);
}
