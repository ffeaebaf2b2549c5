//! Mail servers that reject mail, stall, offer no TLS or have the wrong certificate, and Frontdesk servers
//! that are killed while sending. Mail is never lost, never sent in clear text, and sent at most twice if a
//! crash hides the result.

use std::io::Write as _;
use std::time::{Duration, Instant};

use sqlx::Connection as _;

use crate::mail::{TOKEN, frontdesk, mailing, reset};
use crate::support::port::free_port;
use crate::support::small_disk::SmallDisk;
use crate::support::smtp::{Smtp, Tls, until};
use crate::support::{Database, Server, registered};

/// Makes waiting mail due immediately.
const DUE: &str = "UPDATE mail_outbox SET next_attempt_at = now() WHERE state = 'waiting'";

fn error(database: &Database) -> String {
    database.db_texts("SELECT coalesce(last_error, '') FROM mail_outbox").remove(0)
}

#[test]
fn mail_waits_unsent_without_tls_or_with_an_invalid_certificate() {
    for (tls, word) in [
        (Tls::None, "STARTTLS is not supported"),
        (Tls::WrongName("starttls"), "not valid for name"),
        (Tls::WrongName("implicit"), "not valid for name"),
        (Tls::UnknownIssuer("starttls"), "UnknownIssuer"),
        (Tls::UnknownIssuer("implicit"), "UnknownIssuer"),
    ] {
        let database = Database::new();
        let smtp = Smtp::start(tls);
        let server = mailing(&database, &smtp, &[]);
        database.db_enqueue("ada@example.com", &reset("Ada"));
        let mut last_error = String::new();
        until("the mail is deferred", || {
            last_error = error(&database);
            !last_error.is_empty()
        });
        assert!(last_error.contains(word), "{tls:?}: {last_error}");
        assert_eq!(database.db_mails("waiting"), 1, "{tls:?}");
        assert_eq!(smtp.received().len(), 0, "{tls:?}");
        until("the reason is logged", || server.log().contains(word));
    }
}

#[test]
fn a_greylisted_mail_is_retried_after_about_half_a_minute_and_arrives_once() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let _server = mailing(&database, &smtp, &[]);
    database.db_enqueue("greylist-ada@example.com", &reset("Ada"));
    until("the mail is deferred", || error(&database).contains("451"));
    assert_eq!(database.db_mails("waiting"), 1);
    let soon = "SELECT count(*) FROM mail_outbox
                 WHERE next_attempt_at BETWEEN now() + interval '15 s' AND now() + interval '40 s'";
    assert_eq!(database.db_count(soon), 1);
    database.db_execute(DUE);
    until("the mail is marked as sent", || database.db_mails("sent") == 1);
    assert_eq!((smtp.replies("451"), smtp.received().len()), (1, 1));
    assert_eq!(database.db_count("SELECT attempts::bigint FROM mail_outbox"), 2);
}

#[test]
fn a_permanently_rejected_recipient_is_not_retried_and_others_still_get_mail() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let server = mailing(&database, &smtp, &[]);
    database.db_enqueue("refuse-ada@example.com", &reset("Ada"));
    until("the mail has failed", || database.db_mails("failed") == 1);
    database.db_enqueue("bob@example.com", &reset("Bob"));
    until("the other is sent", || database.db_mails("sent") == 1);
    assert_eq!((smtp.replies("550"), smtp.received().len()), (1, 1));
    let log = server.log();
    assert!(log.contains("mail failed permanently") && log.contains("550"), "{log}");
    assert!(!log.contains("refuse-ada") && !log.contains("is unknown here"), "{log}");
}

#[test]
fn a_link_repeated_in_a_mail_servers_reply_is_not_stored_or_logged() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let server = mailing(&database, &smtp, &[]);
    database.db_enqueue("reject-ada@example.com", &reset("Ada"));
    until("the mail has failed", || database.db_mails("failed") == 1);
    let error = error(&database);
    assert!(error.contains("we do not like http://127.0.0.1:8080/reset-password/…"), "{error}");
    // A line of the mail contains only half of the link; that half must not be stored either.
    for text in [error, server.log()] {
        assert!(!text.contains(&TOKEN[..8]) && !text.contains(&TOKEN[20..30]), "{text}");
    }
}

#[test]
fn mail_waits_while_the_smtp_password_or_the_sender_is_rejected() {
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
        until("the mail is deferred", || !error(&database).is_empty());
        assert!(error(&database).contains(word), "{}", error(&database));
        assert_eq!(database.db_mails("waiting"), 1);
    }
    let _repaired = mailing(&database, &smtp, &[]);
    database.db_execute(DUE);
    until("the mail is marked as sent", || database.db_mails("sent") == 1);
}

#[test]
fn a_mail_fails_after_ten_attempts_and_not_before() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let _server = mailing(&database, &smtp, &[]);
    database.db_enqueue("unknown-ada@example.com", &reset("Ada"));
    let wait_for_attempt = |times: i64| {
        until("the attempt is over", || {
            // An attempt is over when the next one is further away than a lease, or the mail has failed.
            database.db_count(&format!(
                "SELECT count(*) FROM mail_outbox WHERE attempts = {times} AND last_error IS NOT NULL
                    AND (state = 'failed' OR next_attempt_at > now() + interval '61 s' OR attempts = 1)"
            )) == 1
        });
    };
    for times in 1..10 {
        wait_for_attempt(times);
        assert_eq!(database.db_mails("waiting"), 1, "{times}");
        database.db_execute(DUE);
    }
    wait_for_attempt(10);
    assert_eq!((database.db_mails("failed"), smtp.replies("451")), (1, 10));
}

#[test]
fn a_stalled_mail_server_delays_no_page_no_other_mail_and_no_shutdown() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let mut server = mailing(&database, &smtp, &[]);
    for number in 0..3 {
        database.db_enqueue(&format!("stall-{number}@example.com"), &reset("Ada"));
    }
    until("three mails stall", || smtp.received().len() == 3);
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
    // The mail server stalls for 30 seconds.
    assert!(other < Duration::from_secs(25), "{other:?}");
    assert!(pages < Duration::from_secs(25), "{pages:?}");
    // The stalled mails have not failed meanwhile, and arrive once when the mail server answers.
    smtp.release("stalled-enough");
    until("the stalled ones are sent", || database.db_mails("sent") == 4);
    assert_eq!(smtp.received().len(), 4);

    std::fs::remove_file(smtp.folder.join("stalled-enough")).unwrap();
    database.db_enqueue("stall-last@example.com", &reset("Ada"));
    until("it stalls", || smtp.received().len() == 5);
    let began = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
    let stop = began.elapsed();
    assert!(stop < Duration::from_secs(25), "{stop:?}");
    assert_eq!(database.db_mails("waiting"), 1, "the mail is still waiting");
    println!(
        "while three mails stall: another is sent in {other:?}, 22 pages in {pages:?}; stopped in {stop:?}"
    );
}

#[test]
fn mails_that_stall_do_not_delay_new_ones() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    // More retries and more first attempts than may be in flight. None of them ends within 30 s.
    for number in 0..8 {
        database.db_enqueue(&format!("stall-again-{number}@example.com"), &reset("Ada"));
    }
    database.db_execute("UPDATE mail_outbox SET attempts = 1");
    for number in 0..10 {
        database.db_enqueue(&format!("stall-{number}@example.com"), &reset("Ada"));
    }
    let _server = mailing(&database, &smtp, &[]);
    until("the first attempts stall", || smtp.received().len() >= 12);
    for number in 0..4 {
        database.db_enqueue(&format!("user{number}@example.com"), &reset("Bob"));
    }
    let began = Instant::now();
    until("the others are sent", || database.db_mails("sent") == 4);
    println!("sent after {:?}", began.elapsed());
    let stalled =
        "SELECT count(*) FROM mail_outbox WHERE state = 'waiting' AND recipient LIKE 'stall-%'";
    assert_eq!(database.db_count(stalled), 18, "they were sent while the others stalled");
    smtp.release("stalled-enough");
}

#[test]
fn a_mail_server_that_sends_an_endless_line_costs_little_memory() {
    let database = Database::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            std::thread::spawn(move || {
                let line = [b'2'; 64 * 1024];
                while connection.write_all(&line).is_ok() {}
            });
        }
    });
    let settings = [
        ("FRONTDESK_SMTP_URL", &*format!("smtp://127.0.0.1:{port}")),
        ("FRONTDESK_MAIL_FROM", "desk@example.com"),
    ];
    let server = Server::start(&database, &settings);
    let peak = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let before = peak();
    for number in 0..8 {
        database.db_enqueue(&format!("user{number}@example.com"), &reset("Ada"));
    }
    let failed = "SELECT count(*) FROM mail_outbox WHERE last_error LIKE '%more than 256 KiB%'";
    until("the attempts fail", || database.db_count(failed) == 8);
    let used = peak().saturating_sub(before);
    println!("{used} KiB more memory");
    assert!(used < 24 * 1024, "{used} KiB");
}

#[test]
fn a_mail_server_that_answers_data_after_thirty_seconds_gets_the_mail_once() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let _servers = [mailing(&database, &smtp, &[]), mailing(&database, &smtp, &[])];
    database.db_enqueue("stall-ada@example.com", &reset("Ada"));
    let began = Instant::now();
    until("the mail is marked as sent", || database.db_mails("sent") == 1);
    assert!(began.elapsed() > Duration::from_secs(29), "{:?}", began.elapsed());
    assert_eq!(smtp.received().len(), 1);
}

#[test]
fn a_mail_sent_but_not_marked_before_a_kill_is_sent_once_more_with_the_same_id() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let mut server = mailing(&database, &smtp, &[]);
    database.db_enqueue("hold-ada@example.com", &reset("Ada"));
    until("the mail server has it", || smtp.received().len() == 1);
    // The server must wait for this lock to mark the mail as sent; then the mail server accepts the mail.
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
    until("the server waits to mark it", || database.db_count(blocked) == 1);
    server.signal("KILL");
    server.ended();
    database.db_count(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE 'frontdesk%'",
    );
    database.runtime.block_on(async { locked.close().await.unwrap() });
    assert_eq!((smtp.replies("250"), database.db_mails("waiting")), (1, 1));

    // The lease of the killed server lasts a minute; then another server reclaims the mail.
    let leased = "SELECT count(*) FROM mail_outbox WHERE next_attempt_at > now()";
    assert_eq!(database.db_count(leased), 1);
    let _others = [mailing(&database, &smtp, &[]), mailing(&database, &smtp, &[])];
    database.db_execute(DUE);
    until("the mail is marked as sent", || database.db_mails("sent") == 1);
    let received = smtp.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].header("Message-ID"), received[1].header("Message-ID"));
    assert_eq!(received[0].content, received[1].content);
}

#[test]
fn six_kills_lose_none_of_six_hundred_mails_and_each_duplicates_a_mail_at_most_once() {
    const KILLS: usize = 6;
    // More than can be sent between a poll and the kill, however long the machine stalls there.
    const MAILS: usize = 600;
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    for number in 0..MAILS {
        database.db_enqueue(&format!("user{number}@example.com"), &reset("Ada"));
    }
    for round in 0..KILLS {
        let mut server = mailing(&database, &smtp, &[]);
        let before = smtp.received().len();
        // The kill hits a random point among the mails in flight.
        until("some are sent", || smtp.received().len() > before + round);
        server.signal("KILL");
        server.ended();
        database.db_execute(DUE);
    }
    let _last = mailing(&database, &smtp, &[]);
    until("all are sent", || database.db_mails("sent") == MAILS as i64);
    let received = smtp.received();
    let mut most = 0;
    for number in 0..MAILS {
        let email = format!("user{number}@example.com");
        let copies: Vec<_> = received.iter().filter(|mail| mail.to == [email.as_str()]).collect();
        assert!(!copies.is_empty(), "mail {number} is lost");
        assert!(
            copies.iter().all(|copy| copy.header("Message-ID") == copies[0].header("Message-ID"))
        );
        most = most.max(copies.len());
    }
    println!(
        "{MAILS} mails, {KILLS} kills: {} received, one mail at most {most} times",
        received.len()
    );
    assert!(most <= 1 + KILLS, "{most}");
    // Eight mails at a time are in flight.
    assert!(received.len() <= MAILS + 8 * KILLS, "{}", received.len());
}

#[test]
fn the_server_starts_and_mail_waits_while_the_mail_server_is_unreachable() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let mut settings = smtp.settings();
    let unused = free_port();
    settings[0].1 = format!("smtp://localhost:{unused}");
    let mut all = vec![("FRONTDESK_REGISTRATION", "open")];
    all.extend(settings.iter().map(|(name, value)| (*name, value.as_str())));
    let server = Server::start(&database, &all);
    database.db_enqueue("ada@example.com", &reset("Ada"));
    until("the mail is deferred", || !error(&database).is_empty());
    registered(&server, "ada@example.com");
    drop(server);
    let _server = mailing(&database, &smtp, &[]);
    let id = database.db_texts("SELECT id::text FROM mail_outbox").remove(0);
    // A mail deferred for a short time is retried automatically; an operator can retry one that is due much
    // later.
    database.db_execute("UPDATE mail_outbox SET next_attempt_at = now() + interval '1 hour'");
    assert_eq!(frontdesk(&database, &[], &["mail", "retry", &id]).0, 0);
    until("the mail is marked as sent", || database.db_mails("sent") == 1);
}

#[test]
fn a_mail_waits_while_the_disk_is_full_and_is_then_written_completely() {
    let Some(disk) = SmallDisk::mount("full-mail-folder") else { return };
    let database = Database::new();
    let folder = disk.folder.join("mail");
    let settings = [("FRONTDESK_MAIL_DIR", folder.to_str().unwrap())];
    let server = Server::start(&database, &settings);
    // The folder exists and has space for directory entries, but not for data.
    database.db_enqueue("ada@example.com", &reset("Ada"));
    until("the first mail is sent", || database.db_mails("sent") == 1);
    disk.fill();

    database.db_enqueue("bob@example.com", &reset("Bob"));
    until("the mail is deferred", || {
        database.db_count("SELECT count(*) FROM mail_outbox WHERE last_error IS NOT NULL") == 1
    });
    let kept = "SELECT count(*) FROM mail_outbox WHERE state = 'waiting' AND sealed IS NOT NULL";
    assert_eq!(database.db_count(kept), 1);
    let errors = database.db_texts("SELECT last_error FROM mail_outbox WHERE state = 'waiting'");
    assert!(errors[0].contains("No space left on device"), "{errors:?}");
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names().len(), 1, "only the first mail: {:?}", names());
    let (code, out, _) = frontdesk(&database, &settings, &["doctor"]);
    assert!(code == 4 && out.contains("cannot be written to: No space left"), "{code} {out}");

    disk.free_space();
    database.db_execute(DUE);
    until("the mail is sent", || database.db_mails("sent") == 2);
    let id = database.db_texts("SELECT id::text FROM mail_outbox WHERE recipient LIKE 'bob%'");
    let mail = std::fs::read_to_string(folder.join(format!("{}.eml", id[0]))).unwrap();
    assert!(mail.contains("To: bob@example.com\r\n"), "{mail}");
    let delivered = database.db_texts("SELECT id::text FROM mail_outbox").into_iter();
    let lengths: Vec<u64> = delivered
        .map(|id| std::fs::metadata(folder.join(format!("{id}.eml"))).unwrap().len())
        .collect();
    assert!(lengths[0].abs_diff(lengths[1]) < 64, "both are complete: {lengths:?}");
    assert_eq!(names().len(), 2, "{:?}", names());
    let (_, out, _) = frontdesk(&database, &settings, &["doctor"]);
    assert!(out.contains("one .eml file per mail"), "{out}");
    drop(server);
}
