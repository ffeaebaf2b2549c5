//! Delivered mail: over a real mail server and into a folder, its content, and what operators see of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

pub use frontdesk::mail::{Message, message};
use frontdesk::mail::{Source, outbox};
use serde_json::Value;
use time::OffsetDateTime;

use crate::support::port::free_addr;
use crate::support::server::{KEY, Setting};
use crate::support::smtp::{Smtp, Tls, sealer, until};
use crate::support::{Browser, Database, Server};

/// A token like those in mailed links.
pub const TOKEN: &str = "Zx8Kq2nVb5Lw1Rt7Ym4Pc9Hd3Jf6Gs0AeUiOoTnXkRl";

/// A message with a credential.
pub fn reset(name: &str) -> Message {
    Message::ResetPassword { display_name: name.to_owned(), token: TOKEN.to_owned() }
}

/// A message without a credential.
pub fn changed(name: &str) -> Message {
    let source = Source { at: Some(OffsetDateTime::UNIX_EPOCH), ..Source::default() };
    let (by_reset, by_operator) = (false, false);
    Message::PasswordChanged { display_name: name.to_owned(), by_reset, by_operator, source }
}

/// A server that sends its mail to `smtp`.
pub fn mailing(database: &Database, smtp: &Smtp, more: &[Setting<'_>]) -> Server {
    let settings = smtp.settings();
    let mut all: Vec<Setting<'_>> = vec![("FRONTDESK_REGISTRATION", "open")];
    all.extend(settings.iter().map(|(name, value)| (*name, value.as_str())));
    all.extend_from_slice(more);
    Server::start(database, &all)
}

/// Runs `frontdesk …` with these settings; returns exit code, standard output, standard error.
pub fn frontdesk(
    database: &Database,
    settings: &[Setting<'_>],
    arguments: &[&str],
) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(arguments)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .envs([("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn mail_is_sent_over_starttls_and_tls_authenticated_and_its_content_is_deleted() {
    for tls in [Tls::Upgraded, Tls::Implicit] {
        let database = Database::new();
        let smtp = Smtp::start(tls);
        let url = smtp.settings()[0].1.replace("://", "://desk:p%40ss%3Aword%2F@");
        let ca = smtp.settings()[2].1.clone();
        let server = Server::start(
            &database,
            &[
                ("FRONTDESK_SMTP_URL", url.as_str()),
                ("FRONTDESK_SMTP_CA_FILE", ca.as_str()),
                ("FRONTDESK_MAIL_FROM", "The Desk, Ltd. <desk@example.com>"),
                ("FRONTDESK_PUBLIC_URL", "https://desk.example.com"),
                ("FRONTDESK_SITE_NAME", "Grüezi & Söhne"),
            ],
        );
        database.db_enqueue("Ada@Bücher.example", &reset("Ada"));
        until("the mail is marked as sent", || database.db_mails("sent") == 1);
        let received = smtp.received();
        assert_eq!(received.len(), 1);
        let mail = &received[0];
        assert!(mail.encrypted, "{tls:?}");
        assert_eq!(mail.user.as_deref(), Some("desk"), "{tls:?}");
        assert_eq!(
            (mail.from.as_str(), mail.hello.as_str()),
            ("desk@example.com", "desk.example.com")
        );
        assert_eq!(mail.to, ["Ada@xn--bcher-kva.example"]);
        let id = database.db_texts("SELECT id::text FROM mail_outbox").remove(0);
        assert_eq!(mail.header("Message-ID"), format!("<{id}@desk.example.com>"));
        assert_eq!(mail.header("From"), "=?utf-8?b?VGhlIERlc2ssIEx0ZC4=?= <desk@example.com>");
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        assert!(mail.header("Date").ends_with("+0000"), "{}", mail.content);
        assert!(mail.header("Content-Type").starts_with("multipart/alternative;"));
        let unfolded = mail.content.replace("=\r\n", "");
        assert_eq!(
            unfolded.matches(&format!("https://desk.example.com/reset-password/{TOKEN}")).count(),
            2
        );
        let left =
            "SELECT count(*) FROM mail_outbox WHERE sealed IS NOT NULL OR finished_at IS NULL";
        assert_eq!(database.db_count(left), 0);
        // The line is written after the row.
        until("the log reports the mail", || server.log().contains("mail is sent"));
        let log = server.log();
        assert!(log.contains(&id), "{log}");
        for secret in [TOKEN, "Ada", "cher", "p@ss", "p%40ss"] {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
    }
}

#[test]
fn a_mail_is_sent_if_and_only_if_its_transaction_was_committed() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let _server = mailing(&database, &smtp, &[]);
    database.runtime.block_on(async {
        let mut connection = database.pool.acquire().await.unwrap();
        sqlx::query("BEGIN").execute(&mut *connection).await.unwrap();
        let message = changed("Ada");
        outbox::enqueue(&mut connection, &sealer(), None, "undone@example.com", &message)
            .await
            .unwrap();
        sqlx::query("ROLLBACK").execute(&mut *connection).await.unwrap();
    });
    database.db_enqueue("done@example.com", &changed("Ada"));
    until("the mail is marked as sent", || database.db_mails("sent") == 1);
    assert_eq!(smtp.received().len(), 1);
    assert_eq!(smtp.received_by("done@example.com").len(), 1);
}

#[test]
fn user_input_is_injected_into_no_mail_header_and_never_parsed_as_a_template() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let _server = mailing(&database, &smtp, &[]);
    let name = "Ada\r\nBcc: eve@example.com\r\n\r\n{{1234567*7}} {% raw %} <script>";
    // No page would store this name, but the mail code must handle hostile input anyway.
    let name = name.replace("eve@example.com", "eve");
    database.db_enqueue("ada@example.com", &changed(&name));
    for recipient in
        ["ada@example.com\r\nBcc: eve@example.com", "ada@example.com\nRCPT TO:<eve@example.com>"]
    {
        database.db_enqueue(recipient, &changed("Ada"));
    }
    until("one is sent, two have failed", || {
        database.db_mails("sent") == 1 && database.db_mails("failed") == 2
    });
    let received = smtp.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].to, ["ada@example.com"]);
    let (head, body) = received[0].content.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("Bcc") && !head.contains("eve"), "{head}");
    assert_eq!(head.matches("\r\nTo: ").count() + usize::from(head.starts_with("To: ")), 1);
    assert!(body.contains("Hello Ada Bcc: eve {{1234567*7}} {% raw %} <script>,"), "{body}");
    assert!(!body.contains("8641969") && body.contains("&lt;script&gt;"), "{body}");
}

#[test]
fn two_servers_share_two_hundred_mails_and_send_each_once() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let servers = [mailing(&database, &smtp, &[]), mailing(&database, &smtp, &[])];
    for number in 0..200 {
        database.db_enqueue(&format!("user{number}@example.com"), &changed("Ada"));
    }
    until("all are sent", || database.db_mails("sent") == 200);
    let mut recipients: Vec<String> =
        smtp.received().iter().flat_map(|mail| mail.to.clone()).collect();
    recipients.sort();
    recipients.dedup();
    assert_eq!((smtp.received().len(), recipients.len()), (200, 200));
    let shares = servers.each_ref().map(|server| server.log().matches("mail is sent").count());
    println!("200 mails over two servers: {shares:?}");
    assert!(shares.iter().all(|share| *share > 20), "{shares:?}");
}

#[test]
fn a_mail_folder_gets_one_eml_file_per_mail_readable_only_by_its_owner() {
    let database = Database::new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mail-folder");
    fs::remove_dir_all(&folder).ok();
    let settings =
        [("FRONTDESK_MAIL_DIR", folder.to_str().unwrap()), ("FRONTDESK_REGISTRATION", "open")];
    let server = Server::start(&database, &settings);
    database.db_enqueue("ada@example.com", &reset("Ada"));
    until("the mail is marked as sent", || database.db_mails("sent") == 1);
    let id = database.db_texts("SELECT id::text FROM mail_outbox").remove(0);
    let file = folder.join(format!("{id}.eml"));
    assert!(fs::read_to_string(&file).unwrap().contains("To: ada@example.com\r\n"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(server.browser().get("/dev/mailbox").status, 404);
    let (code, out, _) = frontdesk(&database, &settings, &["doctor", "--json"]);
    assert!(code == 4 && out.contains("one .eml file per mail"), "{out}");
}

#[test]
fn operators_list_mail_without_its_content_and_retry_failed_mail() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let server = mailing(&database, &smtp, &[]);
    database.db_enqueue("refuse-ada@example.com", &reset("Ada"));
    database.db_enqueue("bob@example.com", &reset("Bob"));
    until("one is sent, one has failed", || {
        database.db_mails("sent") == 1 && database.db_mails("failed") == 1
    });
    let run = |arguments: &[&str]| frontdesk(&database, &[], arguments);
    let (code, out, _) = run(&["mail", "list", "--json"]);
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, listed.as_array().unwrap().len()), (0, 2));
    assert_eq!(listed[0]["recipient"], "bob@example.com");
    assert!(!out.contains(TOKEN), "{out}");
    let (_, table, _) = run(&["mail", "list", "--state", "failed", "--limit", "5"]);
    assert!(table.contains("reset_password") && table.contains("is unknown here"), "{table}");
    assert!(!table.contains("bob@"), "{table}");
    assert_eq!(run(&["mail", "list", "--state", "lost"]).0, 2);

    let failed = listed[1]["id"].as_str().unwrap();
    let sent = listed[0]["id"].as_str().unwrap();
    assert_eq!(run(&["mail", "retry", sent]).0, 3, "it was already sent");
    assert_eq!(run(&["mail", "retry", "nonsense"]).0, 2);
    assert_eq!(run(&["mail", "retry"]).0, 2);
    database
        .db_execute("UPDATE mail_outbox SET recipient = 'ada@example.com', recipient_canonical = 'ada@example.com' WHERE state = 'failed'");
    assert_eq!(run(&["mail", "retry", failed]).0, 0);
    until("it is sent", || database.db_mails("sent") == 2);
    assert_eq!(smtp.received_by("ada@example.com").len(), 1);
    assert_eq!(run(&["mail", "retry", "--failed"]).0, 3, "none failed");
    drop(server);
}

#[test]
fn the_doctor_command_and_the_metrics_report_mail_problems() {
    let database = Database::new();
    let good = Smtp::start(Tls::Upgraded);
    let wrong = Smtp::start(Tls::WrongName("implicit"));
    let plain = Smtp::start(Tls::None);
    let doctor = |settings: &[(&'static str, String)]| {
        let settings: Vec<Setting<'_>> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (_, out, _) = frontdesk(&database, &settings, &["doctor"]);
        let is_of_mail = |line: &&str| line.split_whitespace().nth(1) == Some("mail");
        out.lines().find(is_of_mail).unwrap().to_owned()
    };
    let line = doctor(&good.settings());
    assert!(line.starts_with("ok") && line.contains("STARTTLS"), "{line}");
    let mut refused = good.settings();
    refused[0].1 = refused[0].1.replace("://", "://desk:wrong@");
    for (settings, word) in [
        (wrong.settings(), "not valid for name"),
        (plain.settings(), "STARTTLS is not supported"),
        (refused, "Check user and password"),
    ] {
        let line = doctor(&settings);
        assert!(line.starts_with("problem") && line.contains(word), "{word}: {line}");
        assert!(!line.contains("wrong@"), "{line}");
    }
    assert_eq!(good.received().len() + plain.received().len(), 0, "the doctor sent mail");
    assert!(doctor(&[]).contains("/dev/mailbox"));

    let bind = free_addr();
    let _server = mailing(&database, &good, &[("FRONTDESK_METRICS_BIND", &bind)]);
    database.db_enqueue("ada@example.com", &changed("Ada"));
    database.db_enqueue("refuse-ada@example.com", &changed("Ada"));
    database.db_enqueue("unknown-ada@example.com", &changed("Ada"));
    until("the metrics count all", || {
        let metrics = Browser::new(&bind).get("/metrics").body;
        ["frontdesk_mail_waiting 1", "frontdesk_mail_sent_total 1", "frontdesk_mail_failed_total 1"]
            .iter()
            .all(|line| metrics.contains(line))
    });
}

#[test]
fn two_sealed_mails_that_were_swapped_in_sql_are_sent_to_neither_recipient() {
    let database = Database::new();
    database.db_enqueue("ada@example.com", &reset("Ada"));
    database.db_enqueue("eve@example.com", &changed("Eve"));
    database.db_enqueue("bob@example.com", &changed("Bob"));
    let swapped = database.db_execute(
        "UPDATE mail_outbox AS one SET sealed = other.sealed FROM mail_outbox AS other
          WHERE one.recipient <> other.recipient AND 'bob@example.com' NOT IN (one.recipient, other.recipient)",
    );
    assert_eq!(swapped, 2);
    let smtp = Smtp::start(Tls::Upgraded);
    let server = mailing(&database, &smtp, &[]);
    until("the mail that was not swapped is sent", || database.db_mails("sent") == 1);
    let refused =
        "SELECT count(*) FROM mail_outbox WHERE state <> 'sent' AND last_error IS NOT NULL";
    until("the other two cannot be opened", || database.db_count(refused) == 2);
    let received = smtp.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].to, ["bob@example.com"]);
    assert!(!received[0].content.contains(TOKEN) && !server.log().contains(TOKEN));
}
