//! Mail servers that refuse, stall, speak without TLS or lie about who they are, and servers of ours that are killed
//! at the worst moment: mail is never lost, never in the clear, and sent twice at most where a crash left no word.

use std::time::{Duration, Instant};

use sqlx::Connection as _;

use crate::mail::{TOKEN, frontdesk, mailing, reset};
use crate::support::port::free_port;
use crate::support::small_disk::SmallDisk;
use crate::support::smtp::{Smtp, Tls, until};
use crate::support::{Database, Server, registered};

/// Mail that waits is due now.
const DUE: &str = "UPDATE mail_outbox SET next_attempt_at = now() WHERE state = 'waiting'";

fn error(database: &Database) -> String {
    database.db_texts("SELECT coalesce(last_error, '') FROM mail_outbox").remove(0)
}

#[test]
fn without_tls_or_with_a_wrong_certificate_nothing_is_said_and_mail_waits() {
    for (tls, word) in [
        (Tls::None, "STARTTLS is not supported"),
        (Tls::WrongName("starttls"), "not valid for name"),
        (Tls::WrongName("implicit"), "not valid for name"),
        (Tls::Unknown("starttls"), "UnknownIssuer"),
        (Tls::Unknown("implicit"), "UnknownIssuer"),
    ] {
        let database = Database::new();
        let smtp = Smtp::start(tls);
        let server = mailing(&database, &smtp, &[]);
        database.db_enqueue("ada@example.com", &reset("Ada"));
        let mut said = String::new();
        until("the mail is put off", || {
            said = error(&database);
            !said.is_empty()
        });
        assert!(said.contains(word), "{tls:?}: {said}");
        assert_eq!(database.db_mails("waiting"), 1, "{tls:?}");
        assert_eq!(smtp.arrived().len(), 0, "{tls:?}");
        assert!(server.log().contains(word), "{tls:?}: {}", server.log());
    }
}

#[test]
fn a_greylisted_mail_waits_half_a_minute_or_so_and_arrives_once() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let _server = mailing(&database, &smtp, &[]);
    database.db_enqueue("greylist-ada@example.com", &reset("Ada"));
    until("the mail is put off", || error(&database).contains("451"));
    assert_eq!(database.db_mails("waiting"), 1);
    let soon = "SELECT count(*) FROM mail_outbox
                 WHERE next_attempt_at BETWEEN now() + interval '15 s' AND now() + interval '40 s'";
    assert_eq!(database.db_count(soon), 1);
    database.db_execute(DUE);
    until("the mail is marked as sent", || database.db_mails("sent") == 1);
    assert_eq!((smtp.said("451"), smtp.arrived().len()), (1, 1));
    assert_eq!(database.db_count("SELECT attempts::bigint FROM mail_outbox"), 2);
}

#[test]
fn a_recipient_who_is_refused_for_good_is_not_tried_again_and_others_still_get_mail() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let server = mailing(&database, &smtp, &[]);
    database.db_enqueue("refuse-ada@example.com", &reset("Ada"));
    until("the mail failed permanently", || database.db_mails("failed") == 1);
    database.db_enqueue("bob@example.com", &reset("Bob"));
    until("the other is sent", || database.db_mails("sent") == 1);
    assert_eq!((smtp.said("550"), smtp.arrived().len()), (1, 1));
    let log = server.log();
    assert!(log.contains("mail failed permanently") && log.contains("550"), "{log}");
    assert!(!log.contains("refuse-ada") && !log.contains("is unknown here"), "{log}");
}

#[test]
fn a_mail_server_that_repeats_a_link_does_not_bring_it_into_the_table_or_the_log() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let server = mailing(&database, &smtp, &[]);
    database.db_enqueue("reject-ada@example.com", &reset("Ada"));
    until("the mail failed permanently", || database.db_mails("failed") == 1);
    let error = error(&database);
    assert!(error.contains("we do not like http://127.0.0.1:8080/reset-password/…"), "{error}");
    // Not even the half of it that stood on one line of the mail.
    for text in [error, server.log()] {
        assert!(!text.contains(&TOKEN[..8]) && !text.contains(&TOKEN[20..30]), "{text}");
    }
}

#[test]
fn a_wrong_password_or_a_refused_sender_is_our_mistake_and_mail_waits_for_it_to_be_mended() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let url = smtp.settings()[0].1.replace("://", "://desk:wrong@");
    for (name, value, word) in [
        ("FRONTDESK_SMTP_URL", url.as_str(), "535"),
        ("FRONTDESK_MAIL_FROM", "refused-sender@example.com", "not from you"),
    ] {
        database.db_execute("DELETE FROM mail_outbox");
        let _server = mailing(&database, &smtp, &[(name, value)]);
        database.db_enqueue("ada@example.com", &reset("Ada"));
        until("the mail is put off", || !error(&database).is_empty());
        assert!(error(&database).contains(word), "{}", error(&database));
        assert_eq!(database.db_mails("waiting"), 1);
    }
    let _mended = mailing(&database, &smtp, &[]);
    database.db_execute(DUE);
    until("the mail is marked as sent", || database.db_mails("sent") == 1);
}

#[test]
fn a_mail_is_given_up_after_ten_attempts_and_not_before() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let _server = mailing(&database, &smtp, &[]);
    database.db_enqueue("unknown-ada@example.com", &reset("Ada"));
    let tried = |times: i64| {
        until("it was tried", || {
            // An attempt is over when the row is put off beyond a lease, or given up.
            database.db_count(&format!(
                "SELECT count(*) FROM mail_outbox WHERE attempts = {times} AND last_error IS NOT NULL
                    AND (state = 'failed' OR next_attempt_at > now() + interval '61 s' OR attempts = 1)"
            )) == 1
        });
    };
    for times in 1..10 {
        tried(times);
        assert_eq!(database.db_mails("waiting"), 1, "{times}");
        database.db_execute(DUE);
    }
    tried(10);
    assert_eq!((database.db_mails("failed"), smtp.said("451")), (1, 10));
}

#[test]
fn a_stalled_mail_server_holds_up_no_page_no_other_mail_and_no_stop() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let mut server = mailing(&database, &smtp, &[]);
    for number in 0..3 {
        database.db_enqueue(&format!("stall-{number}@example.com"), &reset("Ada"));
    }
    until("three mails stall", || smtp.arrived().len() == 3);
    let began = Instant::now();
    database.db_enqueue("bob@example.com", &reset("Bob"));
    until("another mail is sent", || database.db_mails("sent") == 1);
    let other = began.elapsed();
    let began = Instant::now();
    let mut browser = registered(&server, "ada@example.com");
    for _ in 0..20 {
        assert_eq!(browser.get("/account").status, 200);
    }
    let pages = began.elapsed();
    assert!(other < Duration::from_secs(5), "{other:?}");
    assert!(pages < Duration::from_secs(10), "{pages:?}");
    // They were not given up meanwhile, and arrive once when the server wakes.
    smtp.release("stalled-enough");
    until("the stalled ones are sent", || database.db_mails("sent") == 4);
    assert_eq!(smtp.arrived().len(), 4);

    std::fs::remove_file(smtp.folder.join("stalled-enough")).unwrap();
    database.db_enqueue("stall-last@example.com", &reset("Ada"));
    until("it stalls", || smtp.arrived().len() == 5);
    let began = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
    let stop = began.elapsed();
    assert!(stop < Duration::from_secs(12), "{stop:?}");
    assert_eq!(database.db_mails("waiting"), 1, "it is still to be sent");
    println!(
        "while three mails stall: another in {other:?}, 22 pages in {pages:?}; stopped in {stop:?}"
    );
}

#[test]
fn a_mail_server_that_takes_thirty_seconds_after_data_gets_the_mail_once() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let _servers = [mailing(&database, &smtp, &[]), mailing(&database, &smtp, &[])];
    database.db_enqueue("stall-ada@example.com", &reset("Ada"));
    let began = Instant::now();
    until("the mail is marked as sent", || database.db_mails("sent") == 1);
    assert!(began.elapsed() > Duration::from_secs(29), "{:?}", began.elapsed());
    assert_eq!(smtp.arrived().len(), 1);
}

#[test]
fn killed_between_sending_and_marking_a_mail_goes_twice_at_most_with_the_same_id() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let mut server = mailing(&database, &smtp, &[]);
    database.db_enqueue("hold-ada@example.com", &reset("Ada"));
    until("the mail server has it", || smtp.arrived().len() == 1);
    // Whoever marks it now waits for this lock; then the mail server says that it took it.
    let locked = database.runtime.block_on(async {
        let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
        sqlx::query("BEGIN").execute(&mut connection).await.unwrap();
        sqlx::query("SELECT id FROM mail_outbox FOR UPDATE")
            .execute(&mut connection)
            .await
            .unwrap();
        connection
    });
    smtp.release("go");
    let blocked = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%''sent''%'";
    until("the server wants to mark it", || database.db_count(blocked) == 1);
    server.signal("KILL");
    server.ended();
    database.db_count(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE 'frontdesk%'",
    );
    database.runtime.block_on(async { locked.close().await.unwrap() });
    assert_eq!((smtp.said("250"), database.db_mails("waiting")), (1, 1));

    // Its lease holds for a minute; then another server takes over.
    let leased = "SELECT count(*) FROM mail_outbox WHERE next_attempt_at > now()";
    assert_eq!(database.db_count(leased), 1);
    let _others = [mailing(&database, &smtp, &[]), mailing(&database, &smtp, &[])];
    database.db_execute(DUE);
    until("the mail is marked as sent", || database.db_mails("sent") == 1);
    let arrived = smtp.arrived();
    assert_eq!(arrived.len(), 2);
    assert_eq!(arrived[0].header("Message-ID"), arrived[1].header("Message-ID"));
    assert_eq!(arrived[0].content, arrived[1].content);
}

#[test]
fn killed_six_times_among_six_hundred_mails_none_is_lost_and_each_crash_doubles_one_at_most_once() {
    const KILLS: usize = 6;
    // More than are sent in any stall between a look and the kill.
    const MAILS: usize = 600;
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    for number in 0..MAILS {
        database.db_enqueue(&format!("guest{number}@example.com"), &reset("Ada"));
    }
    for round in 0..KILLS {
        let mut server = mailing(&database, &smtp, &[]);
        let before = smtp.arrived().len();
        // Somewhere among the mails in flight; the exact place is chance.
        until("some are sent", || smtp.arrived().len() > before + round);
        server.signal("KILL");
        server.ended();
        database.db_execute(DUE);
    }
    let _last = mailing(&database, &smtp, &[]);
    until("all are sent", || database.db_mails("sent") == MAILS as i64);
    let arrived = smtp.arrived();
    let mut most = 0;
    for number in 0..MAILS {
        let guest = format!("guest{number}@example.com");
        let copies: Vec<_> = arrived.iter().filter(|mail| mail.to == [guest.as_str()]).collect();
        assert!(!copies.is_empty(), "mail {number} is lost");
        assert!(
            copies.iter().all(|copy| copy.header("Message-ID") == copies[0].header("Message-ID"))
        );
        most = most.max(copies.len());
    }
    println!(
        "{MAILS} mails, {KILLS} kills: {} arrived, the most often {most} times",
        arrived.len()
    );
    assert!(most <= 1 + KILLS, "{most}");
    // Eight at a time are in flight.
    assert!(arrived.len() <= MAILS + 8 * KILLS, "{}", arrived.len());
}

#[test]
fn without_a_mail_server_that_answers_the_site_starts_and_mail_waits_for_it() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let mut settings = smtp.settings();
    let gone = free_port();
    settings[0].1 = format!("smtp://localhost:{gone}");
    let mut all = vec![("FRONTDESK_REGISTRATION", "open")];
    all.extend(settings.iter().map(|(name, value)| (*name, value.as_str())));
    let server = Server::start(&database, &all);
    database.db_enqueue("ada@example.com", &reset("Ada"));
    until("the mail is put off", || !error(&database).is_empty());
    registered(&server, "ada@example.com");
    drop(server);
    let _server = mailing(&database, &smtp, &[]);
    let id = database.db_texts("SELECT id::text FROM mail_outbox").remove(0);
    // Put off by less than a lease it comes by itself; later than that an operator can hurry it.
    database.db_execute("UPDATE mail_outbox SET next_attempt_at = now() + interval '1 hour'");
    assert_eq!(frontdesk(&database, &[], &["mail", "retry", &id]).0, 0);
    until("the mail is marked as sent", || database.db_mails("sent") == 1);
}

#[test]
fn a_mail_that_does_not_fit_on_a_full_disk_waits_and_arrives_whole_when_there_is_room() {
    let Some(disk) = SmallDisk::mount("full-mail-folder") else { return };
    let database = Database::new();
    let folder = disk.folder.join("mail");
    let settings = [("FRONTDESK_MAIL_DIR", folder.to_str().unwrap())];
    let server = Server::start(&database, &settings);
    // The folder exists and has room for names, but not for a byte.
    database.db_enqueue("ada@example.com", &reset("Ada"));
    until("the first mail is sent", || database.db_mails("sent") == 1);
    disk.fill();

    database.db_enqueue("bob@example.com", &reset("Bob"));
    until("the mail is put off", || {
        database.db_count("SELECT count(*) FROM mail_outbox WHERE last_error IS NOT NULL") == 1
    });
    let kept = "SELECT count(*) FROM mail_outbox WHERE state = 'waiting' AND sealed IS NOT NULL";
    assert_eq!(database.db_count(kept), 1);
    let said = database.db_texts("SELECT last_error FROM mail_outbox WHERE state = 'waiting'");
    assert!(said[0].contains("No space left on device"), "{said:?}");
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names().len(), 1, "only the first mail: {:?}", names());
    let (code, out, _) = frontdesk(&database, &settings, &["doctor"]);
    assert!(code == 4 && out.contains("cannot be written to: No space left"), "{code} {out}");

    disk.make_room();
    database.db_execute(DUE);
    until("the mail is sent", || database.db_mails("sent") == 2);
    let id = database.db_texts("SELECT id::text FROM mail_outbox WHERE recipient LIKE 'bob%'");
    let mail = std::fs::read_to_string(folder.join(format!("{}.eml", id[0]))).unwrap();
    assert!(mail.contains("To: bob@example.com\r\n"), "{mail}");
    let delivered = database.db_texts("SELECT id::text FROM mail_outbox").into_iter();
    let lengths: Vec<u64> = delivered
        .map(|id| std::fs::metadata(folder.join(format!("{id}.eml"))).unwrap().len())
        .collect();
    assert!(lengths[0].abs_diff(lengths[1]) < 64, "both are whole: {lengths:?}");
    assert_eq!(names().len(), 2, "{:?}", names());
    let (_, out, _) = frontdesk(&database, &settings, &["doctor"]);
    assert!(out.contains("one .eml file per mail"), "{out}");
    drop(server);
}
