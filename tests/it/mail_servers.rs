//! Several servers on one schema with different mail settings or keys: each leaves to the others what it cannot send
//! or open.

use crate::costs::statements;
use crate::mail::{changed, frontdesk, mailing, reset};
use crate::support::folder::new_folder;
use crate::support::smtp::{Smtp, Tls, until};
use crate::support::{Database, Server};

const NEW_KEY: &str = "Zp4Jq8Wm1Xc6Vb3Nn7Kt2Lr9Hs5Gf0DyAeUiOoPlQaSwEdRf";

#[test]
fn servers_without_a_mail_server_leave_all_mail_to_the_one_that_has_one() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let folder = new_folder("left-to-peer");
    let sending = mailing(&database, &smtp, &[]);
    let keeping = Server::start(&database, &[]);
    let writing = Server::start(&database, &[("FRONTDESK_MAIL_DIR", folder.to_str().unwrap())]);
    for number in 0..20 {
        database.db_enqueue(&format!("user{number}@example.com"), &changed("Ada"));
    }
    until("all are sent", || database.db_mails("sent") == 20);
    assert_eq!(smtp.received().len(), 20, "by SMTP");
    for server in [&keeping, &writing] {
        until("it says so", || server.log().contains("mail is left to another server"));
        until("it names them", || server.log().contains("FRONTDESK_SMTP_URL is set for"));
    }
    let doctor = || frontdesk(&database, &[], &["doctor"]).1;
    assert!(doctor().contains("FRONTDESK_SMTP_URL is set for"), "{}", doctor());

    // While the sending server is restarted, its mail waits.
    sending.stop();
    database.db_enqueue("later@example.com", &changed("Ada"));
    // Each server looks for mail twice a second. What they would take is taken by then.
    let looks = "%FROM servers%mail = ANY%";
    let before = statements(&database, looks);
    until("both have looked for mail", || statements(&database, looks) >= before + 8);
    assert_eq!(database.db_mails("waiting"), 1);
    let _restarted = mailing(&database, &smtp, &[]);
    until("it is sent", || database.db_mails("sent") == 21);
}

#[test]
fn mail_retry_skips_mail_that_is_no_longer_useful_and_says_why() {
    let database = Database::new();
    for recipient in ["late@example.com", "ada@example.com", "lost@example.com"] {
        database.db_enqueue(recipient, &reset("Ada"));
    }
    database.db_execute("UPDATE mail_outbox SET state = 'kept', finished_at = now()");
    database.db_execute("UPDATE mail_outbox SET state = 'failed' WHERE recipient LIKE 'lost%'");
    database.db_execute("UPDATE mail_outbox SET not_after = now() WHERE recipient NOT LIKE 'ada%'");
    let retry = |which: &str| frontdesk(&database, &[], &["mail", "retry", which]);
    let late = database.db_texts("SELECT id::text FROM mail_outbox WHERE recipient LIKE 'late%'");
    let (code, _, error) = retry(&late[0]);
    assert!(code == 3 && error.contains("the link has expired"), "{error}");
    let (code, out, _) = retry("--kept");
    assert!(code == 0 && out.contains("Queued 1 kept"), "{out}");
    assert!(out.contains("Skipped 1 kept mail(s): the link has expired"), "{out}");
    let (code, out, _) = retry("--failed");
    assert!(code == 3 && out.contains("Queued 0 failed") && out.contains("Skipped 1"), "{out}");
    let waiting = "SELECT recipient FROM mail_outbox WHERE state = 'waiting'";
    assert_eq!(database.db_texts(waiting), ["ada@example.com"]);
}

#[test]
fn kept_mail_is_sent_after_mail_retry_kept() {
    let database = Database::new();
    let keeping = Server::start(&database, &[]);
    for number in 0..3 {
        database.db_enqueue(&format!("user{number}@example.com"), &reset("Ada"));
    }
    until("all are kept", || database.db_mails("kept") == 3);
    keeping.stop();
    let smtp = Smtp::start(Tls::Upgraded);
    let _sending = mailing(&database, &smtp, &[]);
    let retry = || frontdesk(&database, &[], &["mail", "retry", "--kept"]);
    let (code, out, _) = retry();
    assert!(code == 0 && out.contains("Queued 3 kept mail(s)"), "{out}");
    until("all are sent", || database.db_mails("sent") == 3);
    assert_eq!(smtp.received().len(), 3);
    assert_eq!(retry().0, 3, "none is kept");
    assert_eq!(frontdesk(&database, &[], &["mail", "retry", "--failed", "--kept"]).0, 3);
}

#[test]
fn a_server_without_the_key_of_a_mail_never_fails_it_and_one_with_the_key_sends_it() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    database.db_enqueue("ada@example.com", &reset("Ada"));
    // It has waited for a week while every server was stopped.
    database.db_execute(
        "UPDATE mail_outbox SET created_at = now() - interval '7 days', next_attempt_at = now() - interval '7 days'",
    );
    let without = mailing(&database, &smtp, &[("FRONTDESK_SECRET_KEYS", NEW_KEY)]);
    let noted =
        "SELECT count(*) FROM mail_outbox WHERE last_error LIKE 'no running server has the key%'";
    until("it is noted", || database.db_count(noted) == 1);
    until("it is logged", || without.log().contains("mail waits for a server with its key"));
    assert_eq!(database.db_mails("waiting"), 1);
    assert_eq!(database.db_count("SELECT attempts::bigint FROM mail_outbox"), 0);

    let keys = format!("{NEW_KEY},{}", crate::support::server::KEY);
    let with = mailing(&database, &smtp, &[("FRONTDESK_SECRET_KEYS", &keys)]);
    until("it is sent", || database.db_mails("sent") == 1);
    assert_eq!(smtp.received().len(), 1);

    // A running server has the key, although it sends no mail at the moment: the mail is left to it.
    with.signal("STOP");
    // It counts as running for as long as this test takes.
    database.db_execute(&format!(
        "UPDATE servers SET last_seen_at = now() + interval '1 hour' WHERE process_id = {}",
        with.child.id()
    ));
    database.db_enqueue("bob@example.com", &reset("Bob"));
    database.db_execute(
        "UPDATE mail_outbox SET next_attempt_at = now() - interval '7 days' WHERE state = 'waiting'",
    );
    let handles = "%unreadable AS MATERIALIZED%";
    let before = statements(&database, handles);
    let again = mailing(&database, &smtp, &[("FRONTDESK_SECRET_KEYS", NEW_KEY)]);
    until("mail without a key is handled", || statements(&database, handles) > before);
    assert_eq!(database.db_count(noted), 0);
    with.signal("CONT");
    until("it is sent", || database.db_mails("sent") == 2);
    drop((without, again));
}

#[test]
fn a_mail_fails_once_no_server_with_its_key_was_started_for_two_days() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    for name in ["ada", "bob"] {
        database.db_enqueue(&format!("{name}@example.com"), &reset("Ada"));
    }
    let noted = "no running server has the key that it is encrypted with; add that key at the end of FRONTDESK_SECRET_KEYS";
    database.db_execute(&format!(
        "UPDATE mail_outbox SET last_error = '{noted}',
                next_attempt_at = now() - interval '2 days' + CASE recipient WHEN 'ada@example.com' THEN interval '0' ELSE interval '5 minutes' END"
    ));
    let _server = mailing(&database, &smtp, &[("FRONTDESK_SECRET_KEYS", NEW_KEY)]);
    until("it has failed", || database.db_mails("failed") == 1);
    assert_eq!(
        database.db_texts("SELECT recipient FROM mail_outbox WHERE state = 'waiting'"),
        ["bob@example.com"]
    );
    // Back with its key, it is sent.
    let _with = mailing(&database, &smtp, &[]);
    assert_eq!(frontdesk(&database, &[], &["mail", "retry", "--failed"]).0, 0);
    until("both are sent", || database.db_mails("sent") == 2);
}
