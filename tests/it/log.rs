//! A log that cannot be written (its reader exits, its disk is full, its pipe is not read) delays no request
//! and stops no background job. A job that panics is restarted.

use std::fs::{File, OpenOptions, create_dir};
use std::io::{BufRead as _, BufReader, ErrorKind, PipeWriter, Read as _, Write as _, pipe};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::mail::changed;
use crate::support::breakpoint::until;
use crate::support::folder::new_folder;
use crate::support::lines::lines;
use crate::support::port::free_addr;
use crate::support::server::KEY;
use crate::support::{Browser, Database, Server, registered};

/// The capacity of a pipe in bytes.
const PIPE: usize = 64 * 1024;
const CONNECTIONS: usize = 4;

/// Requests over a few connections, as fast as the server answers.
struct Traffic(Vec<JoinHandle<usize>>);

impl Traffic {
    fn start(server: &Server, requests: usize) -> Self {
        let connection = |_| {
            let addr = server.addr.clone();
            std::thread::spawn(move || answers(&addr, requests / CONNECTIONS))
        };
        Self((0..CONNECTIONS).map(connection).collect())
    }

    /// Waits for its end; returns how many requests were answered.
    fn answered(self) -> usize {
        self.0.into_iter().map(|connection| connection.join().unwrap()).sum()
    }
}

/// Sends `requests` one after the other over one connection; returns how many got a 200 before the first
/// failure.
fn answers(addr: &str, requests: usize) -> usize {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let mut chunk = [0; 4096];
    for number in 0..requests {
        let mut answer = Vec::new();
        if stream.write_all(request.as_bytes()).is_err() {
            return number;
        }
        while !answer.ends_with(b"\r\n\r\nok\n") {
            match stream.read(&mut chunk) {
                // A read with a timeout is not resumed after a signal (of a child of this process).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return number,
                Ok(count) => answer.extend_from_slice(&chunk[..count]),
            }
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    requests
}

/// The value of a metric.
pub fn metric(bind: &str, name: &str) -> u64 {
    let text = Browser::new(bind).get("/metrics").body;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}: {text}"))
}

fn dropped(bind: &str) -> u64 {
    metric(bind, "frontdesk_log_lines_dropped_total")
}

/// How many dropped lines a line of the log reports.
fn reported(line: &str) -> Option<u64> {
    let (before, _) = line.split_once(" log line")?;
    before.rsplit([' ', '"']).next()?.parse().ok().filter(|_| line.contains("dropped"))
}

/// A pipe that is full before anything is logged.
fn full_pipe() -> (std::io::PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&[b'\n'; PIPE]).unwrap();
    (reader, writer)
}

#[test]
fn requests_are_answered_and_jobs_run_after_the_reader_of_the_log_exits() {
    let database = Database::new();
    let (reader, stderr) = pipe().unwrap();
    let (bind, folder) = (free_addr(), new_folder("reader-exits"));
    let server = Server::start_logging_to(
        &database,
        stderr,
        &[
            ("FRONTDESK_METRICS_BIND", &bind),
            ("FRONTDESK_MAIL_DIR", folder.to_str().unwrap()),
            ("FRONTDESK_PURGE_INTERVAL", "1s"),
        ],
    );
    let mut server = server.until_live();
    let mut browser = registered(&server, "ada@example.com");

    let traffic = Traffic::start(&server, 4_000);
    let read = BufReader::new(reader).lines().take(200).filter(Result::is_ok).count();
    assert_eq!(read, 200, "the reader has exited in the middle of the traffic");
    assert_eq!(traffic.answered(), 4_000);
    assert_eq!(browser.get("/account").status, 200);

    // The LISTEN connection.
    let ended = database.db_execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'frontdesk feed'",
    );
    assert!(ended > 0, "there is a LISTEN connection");
    until(|| metric(&bind, "frontdesk_session_feed_connections_total") >= 2);
    let is_live = || server.browser().get("/readyz").body.contains("\"trusted\"");
    until(is_live);
    // Last-seen times.
    database.db_execute("UPDATE sessions SET last_seen_at = last_seen_at - interval '10 minutes'");
    let old = "SELECT count(*) FROM sessions WHERE last_seen_at < now() - interval '5 minutes'";
    until(|| browser.is_signed_in() && database.db_count(old) == 0);
    // Password resets, and the delivery of mail.
    server.browser().post("/forgot-password", &[("email", "ada@example.com")]);
    let sent = "SELECT count(*) FROM mail_outbox WHERE kind = 'reset_password' AND state = 'sent'";
    until(|| database.db_count(sent) == 1);
    // The purge of sessions, and that of the other tables.
    database.db_execute(
        "INSERT INTO sessions (token_digest, id, expires_at, absolute_expires_at, idle_timeout)
         VALUES (sha256('old'), gen_random_uuid(), now() - interval '2 hours', now(), interval '2 hours')",
    );
    database.db_execute("UPDATE mail_outbox SET created_at = now() - interval '1 year', finished_at = now() - interval '1 year'");
    until(|| database.db_count("SELECT count(*) FROM sessions WHERE expires_at < now()") == 0);
    until(|| database.db_count("SELECT count(*) FROM mail_outbox") == 0);

    let ready = server.browser().get("/readyz").body;
    assert!(ready.contains("\"jobs\":\"ok\""), "{ready}");
    assert!(dropped(&bind) > 0);
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn requests_are_answered_and_dropped_lines_counted_while_the_log_disk_is_full() {
    let database = Database::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let bind = free_addr();
    let settings = [("FRONTDESK_METRICS_BIND", bind.as_str())];
    let mut server = Server::start_logging_to(&database, full, &settings);
    assert_eq!(Traffic::start(&server, 4_000).answered(), 4_000);
    assert!(registered(&server, "ada@example.com").is_signed_in());
    until(|| dropped(&bind) >= 4_000);
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
}

/// The kernel sends SIGXFSZ, which ends a process that does not handle it.
#[cfg(target_os = "linux")]
#[test]
fn a_log_file_that_reaches_its_size_limit_does_not_end_the_server() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let database = Database::new();
    let folder = new_folder("log-limit");
    create_dir(&folder).unwrap();
    let bind = free_addr();
    let settings = [("FRONTDESK_METRICS_BIND", bind.as_str())];
    let file = File::create(folder.join("log")).unwrap();
    let mut server = Server::start_logging_to(&database, file, &settings);
    let limit = Rlimit { current: Some(16 * 1024), maximum: None };
    prlimit(Some(Pid::from_child(&server.child)), Resource::Fsize, limit).unwrap();
    assert_eq!(Traffic::start(&server, 4_000).answered(), 4_000);
    until(|| dropped(&bind) > 0);
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn a_log_that_can_be_written_again_reports_how_many_lines_were_dropped() {
    for format in ["text", "json"] {
        let database = Database::new();
        let folder = new_folder(&format!("log-again-{format}"));
        create_dir(&folder).unwrap();
        let path = folder.join("log");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Opened for reading and writing, so that neither end waits for the other.
        let both = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let stderr = OpenOptions::new().write(true).open(&path).unwrap();
        let bind = free_addr();
        let settings = [("FRONTDESK_METRICS_BIND", bind.as_str()), ("FRONTDESK_LOG", format)];
        let mut server = Server::start_logging_to(&database, stderr, &settings);
        drop(both);
        assert_eq!(Traffic::start(&server, 1_000).answered(), 1_000);
        until(|| dropped(&bind) >= 1_000);

        let log = lines(File::open(&path).unwrap());
        let next = || log.recv_timeout(Duration::from_secs(30)).expect("a line");
        // Without a further request: the report does not wait for one.
        let mut sum = 0;
        while sum < 1_000 {
            let line = next();
            sum += reported(&line).unwrap_or_default();
            if format == "json" {
                serde_json::from_str::<Value>(&line).unwrap();
            }
        }
        assert_eq!(sum, dropped(&bind));
        server.browser().get("/login");
        while !next().contains("/login") {}
        server.signal("TERM");
        assert_eq!(server.ended(), Some(0));
        assert!(log.iter().any(|line| line.contains("stopped")), "the last line is written");
    }
}

#[test]
fn every_log_line_is_written_or_counted_as_dropped_while_the_log_is_not_read() {
    let database = Database::new();
    let (reader, stderr) = pipe().unwrap();
    let bind = free_addr();
    let settings = [("FRONTDESK_METRICS_BIND", bind.as_str()), ("FRONTDESK_LOG", "json")];
    let mut server = Server::start_logging_to(&database, stderr, &settings);
    let requests = 16_000;
    assert_eq!(Traffic::start(&server, requests).answered(), requests);
    let dropped = dropped(&bind);
    assert!(dropped > 0, "all lines fit into the pipe and the buffer");
    assert!(registered(&server, "ada@example.com").is_signed_in());

    let log = lines(reader);
    let (mut answered, mut sum) = (0, 0);
    while sum < dropped {
        let line = log.recv_timeout(Duration::from_secs(30)).expect("a line");
        let event: Value = serde_json::from_str(&line).unwrap();
        answered += u64::from(event["fields"]["route"] == "/healthz");
        sum += reported(&line).unwrap_or_default();
    }
    assert!(answered + sum >= requests as u64, "{answered} lines and {sum} reported as dropped");
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn a_log_that_is_not_read_delays_neither_start_nor_stop() {
    let database = Database::new();
    let (_reader, stderr) = full_pipe();
    let mut server = Server::start_logging_to(&database, stderr, &[]);
    let mut browser = registered(&server, "ada@example.com");
    assert!(browser.is_signed_in());
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn a_server_that_cannot_start_exits_although_its_log_is_not_read() {
    let (_reader, stderr) = full_pipe();
    let mut child = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .env_clear()
        .envs([
            ("DATABASE_URL", "postgres://desk@127.0.0.1:1/desk"),
            ("FRONTDESK_SECRET_KEYS", KEY),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut code = None;
    until(|| {
        code = child.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(1));
}

#[test]
fn a_command_whose_output_is_not_read_exits_without_a_panic() {
    let database = Database::new();
    for arguments in [&["--help"][..], &["user", "list"], &["audit"], &["migrate", "info"]] {
        let (stdout_reader, stdout) = pipe().unwrap();
        drop(stdout_reader);
        let output = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
            .args(arguments)
            .env_clear()
            .envs([("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
            .stdin(Stdio::null())
            .stdout(stdout)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, "", "{arguments:?}");
        assert!(matches!(output.status.code(), Some(0 | 3)), "{arguments:?}: {}", output.status);
    }
}

#[test]
fn a_job_that_panics_is_restarted_and_reported_by_log_readiness_and_metrics() {
    for format in ["text", "json"] {
        let database = Database::new();
        // Later than any date that the program can represent: reading it panics.
        database.db_enqueue("ada@example.com", &changed("Ada"));
        let unreadable = "UPDATE mail_outbox SET created_at = 'infinity', next_attempt_at = now()";
        database.db_execute(unreadable);
        let (bind, folder) = (free_addr(), new_folder("panics"));
        let settings = [
            ("FRONTDESK_METRICS_BIND", bind.as_str()),
            ("FRONTDESK_MAIL_DIR", folder.to_str().unwrap()),
            ("FRONTDESK_LOG", format),
        ];
        let server = Server::start(&database, &settings);
        let jobs = || {
            let ready = server.browser().get("/readyz");
            assert_eq!(ready.status, 200, "the server keeps serving: {}", ready.body);
            serde_json::from_str::<Value>(&ready.body).unwrap()["jobs"].as_str().unwrap().to_owned()
        };
        let restarts =
            || metric(&bind, "frontdesk_background_job_restarts_total{job=\"mail_delivery\"}");
        until(|| jobs() == "restarted: mail_delivery");
        assert!(restarts() >= 1);
        let running = "frontdesk_background_job_running{job=\"mail_delivery\"}";
        // Each pause is twice as long as the one before.
        until(|| database.db_execute(unreadable) == 1 && jobs() == "not running: mail_delivery");
        until(|| database.db_execute(unreadable) == 1 && metric(&bind, running) == 0);
        for job in ["last_seen", "session_purge", "session_notifications", "housekeeping"] {
            let running = format!("frontdesk_background_job_running{{job=\"{job}\"}}");
            let restarted = format!("frontdesk_background_job_restarts_total{{job=\"{job}\"}}");
            assert_eq!((metric(&bind, &running), metric(&bind, &restarted)), (1, 0), "{job}");
        }
        database.db_execute("UPDATE mail_outbox SET created_at = now(), next_attempt_at = now()");
        until(|| database.db_count("SELECT count(*) FROM mail_outbox WHERE state = 'sent'") == 1);
        let restarts = restarts() as usize;

        let log = server.stop();
        let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).collect();
        assert_eq!(panics.len(), 2 * restarts, "a panic, and a line that names the job:\n{log}");
        for line in panics {
            if format == "json" {
                serde_json::from_str::<Value>(line).unwrap();
            }
            let part = if line.contains("has_panicked") { "mail_delivery" } else { ".rs:" };
            assert!(line.contains(part) && line.contains("ERROR"), "{line}");
        }
    }
}
