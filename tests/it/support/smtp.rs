//! A real mail server: tests/smtp/server.py, which uses aiosmtpd, with certificates created for the run.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use frontdesk::config::SecretKeys;
use frontdesk::crypto::seal::Sealer;
use frontdesk::mail::{Message, outbox};
use serde_json::Value;

use super::Database;
use super::server::KEY;

static NEXT: AtomicU32 = AtomicU32::new(0);
static CERTIFICATES: OnceLock<PathBuf> = OnceLock::new();

/// The TLS mode and certificate of a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Upgraded by STARTTLS.
    Upgraded,
    /// From the first byte.
    Implicit,
    /// No TLS.
    None,
    /// A certificate of the trusted authority for another name.
    WrongName(&'static str),
    /// A certificate of an authority that is not trusted.
    UnknownIssuer(&'static str),
}

/// A running mail server; killed when dropped.
pub struct Smtp {
    pub port: u16,
    pub folder: PathBuf,
    tls: Tls,
    child: Child,
}

/// A mail that the server received.
#[derive(Debug, Clone)]
pub struct ReceivedMail {
    pub from: String,
    pub to: Vec<String>,
    pub encrypted: bool,
    pub user: Option<String>,
    pub hello: String,
    pub content: String,
}

impl ReceivedMail {
    /// The value of a header.
    pub fn header(&self, name: &str) -> &str {
        let head = self.content.split("\r\n\r\n").next().unwrap_or_default();
        let start = format!("{name}: ");
        head.split("\r\n").find_map(|line| line.strip_prefix(&start)).unwrap_or_default()
    }
}

impl Smtp {
    /// Starts one.
    pub fn start(tls: Tls) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("smtp-{number}"));
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        let (mode, certificate) = match tls {
            Tls::Upgraded => ("starttls", "localhost"),
            Tls::Implicit => ("implicit", "localhost"),
            Tls::None => ("plain", "localhost"),
            Tls::WrongName(mode) => (mode, "other-name"),
            Tls::UnknownIssuer(mode) => (mode, "untrusted-issuer"),
        };
        let certificates = certificates();
        let mut child = Command::new("tests/smtp/.venv/bin/python")
            .arg("tests/smtp/server.py")
            .args([folder.as_os_str(), mode.as_ref()])
            .arg(certificates.join(format!("{certificate}.pem")))
            .arg(certificates.join(format!("{certificate}.key")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("aiosmtpd is installed (script/bootstrap --test)");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the mail server prints its port");
        Self { port, folder, tls, child }
    }

    /// The settings with which Frontdesk sends mail to this server.
    pub fn settings(&self) -> [(&'static str, String); 3] {
        let scheme = match self.tls {
            Tls::Implicit | Tls::WrongName("implicit") | Tls::UnknownIssuer("implicit") => "smtps",
            _ => "smtp",
        };
        [
            ("FRONTDESK_SMTP_URL", format!("{scheme}://localhost:{}", self.port)),
            ("FRONTDESK_MAIL_FROM", "The Desk, Ltd. <desk@example.com>".to_owned()),
            (
                "FRONTDESK_SMTP_CA_FILE",
                certificates().join("authority.pem").to_str().unwrap().to_owned(),
            ),
        ]
    }

    /// Every mail whose data was received, also if its acceptance was never sent.
    pub fn received(&self) -> Vec<ReceivedMail> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .collect();
        files.retain(|path| !path.ends_with("replies.json"));
        files.sort();
        let read = |path: &PathBuf| {
            let mail: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            let text = |name: &str| mail[name].as_str().unwrap_or_default().to_owned();
            ReceivedMail {
                from: text("from"),
                to: serde_json::from_value(mail["to"].clone()).unwrap(),
                encrypted: mail["encrypted"].as_bool().unwrap(),
                user: mail["user"].as_str().map(str::to_owned),
                hello: text("hello"),
                content: text("content"),
            }
        };
        files.iter().map(read).collect()
    }

    /// The mails received by one recipient.
    pub fn received_by(&self, recipient: &str) -> Vec<ReceivedMail> {
        self.received().into_iter().filter(|mail| mail.to == [recipient]).collect()
    }

    /// How many replies with this code it sent ("250", "451", "550").
    pub fn replies(&self, code: &str) -> usize {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        log.matches(&format!("\"event\": \"{code}\"")).count()
    }

    /// Answers RCPT for `recipient` with `reply`: anything but 250 refuses it.
    pub fn reply_to(&self, recipient: &str, reply: &str) {
        let path = self.folder.join("replies.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
        let mut replies: Value = serde_json::from_str(&text).unwrap();
        replies[recipient] = reply.into();
        // Renamed, because the server may be reading it.
        let unfinished = self.folder.join("replies.unfinished");
        fs::write(&unfinished, replies.to_string()).unwrap();
        fs::rename(unfinished, path).unwrap();
    }

    /// Creates the file for which mails wait before they are accepted ("go", "stalled-enough").
    pub fn release(&self, what: &str) {
        fs::write(self.folder.join(what), "").unwrap();
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits until the condition holds. The limit is for a machine that is busy with other work.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(180), "timed out: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The sealer with the key of servers that tests start.
pub fn sealer() -> Sealer {
    Sealer::new(SecretKeys::parse(KEY).unwrap().as_slice())
}

impl Database {
    /// Puts a message into the outbox, as the server does.
    pub fn db_enqueue(&self, recipient: &str, message: &Message) {
        self.runtime.block_on(async {
            let mut connection = self.pool.acquire().await.unwrap();
            outbox::enqueue(&mut connection, &sealer(), None, recipient, message).await.unwrap();
        });
    }

    /// How many mails are in this state.
    pub fn db_mails(&self, state: &str) -> i64 {
        self.db_count(&format!("SELECT count(*) FROM mail_outbox WHERE state = '{state}'"))
    }
}

/// A certificate authority, its certificates for localhost and for another host, and a certificate for
/// localhost from an authority that is not trusted.
pub fn certificates() -> &'static Path {
    CERTIFICATES.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smtp-certificates");
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        let openssl = |line: &str| {
            let done = Command::new("openssl")
                .args(line.split_whitespace())
                .current_dir(&folder)
                .output()
                .expect("openssl is installed (script/bootstrap --test)");
            assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        for authority in ["authority", "untrusted"] {
            openssl(&format!(
                "req -x509 {key} -keyout {authority}.key -out {authority}.pem -subj /CN={authority}"
            ));
        }
        for (name, host, authority) in [
            ("localhost", "localhost", "authority"),
            ("other-name", "other.example", "authority"),
            ("untrusted-issuer", "localhost", "untrusted"),
        ] {
            fs::write(folder.join("names"), format!("subjectAltName=DNS:{host}\n")).unwrap();
            openssl(&format!("req -new {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
            openssl(&format!(
                "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days 2 -extfile names -out {name}.pem"
            ));
        }
        folder
    })
}
