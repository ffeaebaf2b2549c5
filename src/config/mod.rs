//! The settings: read once, from the environment and `.env`, and nowhere else. Everything that is wrong is
//! said at once, each with what is allowed; no secret is ever said.

mod keys;
mod mail;
mod parse;
mod proxies;
mod public_url;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::secret::SecretText;
pub use keys::{SecretKeys, WeakKey};
pub use mail::{Mail, MailTransport};
use parse::Reader;
pub use parse::duration;
pub use public_url::PublicUrl;

/// Every setting there is; what begins with `FRONTDESK_` and is not here is refused.
pub const NAMES: [&str; 34] = [
    "DATABASE_URL",
    "FRONTDESK_BIND",
    "FRONTDESK_PUBLIC_URL",
    "FRONTDESK_SECRET_KEYS",
    "FRONTDESK_DATA_DIR",
    "FRONTDESK_MIGRATE",
    "FRONTDESK_REGISTRATION",
    "FRONTDESK_SESSION_IDLE_TIMEOUT",
    "FRONTDESK_SESSION_ABSOLUTE_TIMEOUT",
    "FRONTDESK_REMEMBERED_IDLE_TIMEOUT",
    "FRONTDESK_REMEMBERED_ABSOLUTE_TIMEOUT",
    "FRONTDESK_SESSION_CACHE",
    "FRONTDESK_SESSION_CACHE_SIZE",
    "FRONTDESK_LISTEN_URL",
    "FRONTDESK_LISTEN_URL_FILE",
    "FRONTDESK_PURGE_INTERVAL",
    "FRONTDESK_PASSWORD_MIN_LENGTH",
    "FRONTDESK_ARGON2_MEMORY_KIB",
    "FRONTDESK_ARGON2_ITERATIONS",
    "FRONTDESK_ARGON2_PARALLELISM",
    "FRONTDESK_DATABASE_POOL_SIZE",
    "FRONTDESK_METRICS_BIND",
    "FRONTDESK_WORKERS",
    "FRONTDESK_LOG",
    "FRONTDESK_SITE_NAME",
    "FRONTDESK_SMTP_URL",
    "FRONTDESK_SMTP_URL_FILE",
    "FRONTDESK_SMTP_CA_FILE",
    "FRONTDESK_MAIL_FROM",
    "FRONTDESK_MAIL_DIR",
    "FRONTDESK_TRUSTED_PROXIES",
    "FRONTDESK_AUDIT_RETENTION",
    "DATABASE_URL_FILE",
    "FRONTDESK_SECRET_KEYS_FILE",
];

/// The trail is never forgotten earlier; `audit_events_forget` would not do it either.
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const LIKE_A_DATABASE: &str = "is not a URL like postgres://user:password@host/database";

/// The settings of a running program.
#[derive(Clone)]
pub struct Config {
    /// Which PostgreSQL.
    pub database: Database,
    /// Where to listen; port 0 picks one.
    pub bind: SocketAddr,
    /// Where metrics are told; `None`: nowhere.
    pub metrics_bind: Option<SocketAddr>,
    /// How browsers reach the site.
    pub public_url: PublicUrl,
    /// What seals cookies; `None` only with a private database: made once, kept in the data folder.
    pub secret_keys: Option<SecretKeys>,
    /// Where the private database and the keys lie.
    pub data_dir: PathBuf,
    /// Apply migrations at start.
    pub migrate: bool,
    /// Who may register.
    pub registration: Registration,
    /// How long new sessions last.
    pub session: Windows,
    /// Sessions kept in memory at most; `None`: none, every page asks the database.
    pub session_cache: Option<usize>,
    /// Where to hear of changes, when not at the address of the database.
    pub listen_url: Option<SecretText>,
    /// How often expired sessions are deleted.
    pub purge_interval: Duration,
    /// In characters.
    pub password_min_length: usize,
    /// Memory of one hash.
    pub argon2_memory_kib: u32,
    /// Passes over that memory.
    pub argon2_iterations: u32,
    /// Lanes.
    pub argon2_parallelism: u32,
    /// What the site is called, on pages and in mails.
    pub site_name: String,
    /// How mail leaves the house.
    pub mail: Mail,
    /// Whose forwarding headers are believed; empty: nobody's.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// How long the trail is kept.
    pub audit_retention: Duration,
    /// Connections at most.
    pub pool_size: u32,
    /// Threads that answer requests.
    pub workers: usize,
    /// How log lines look.
    pub log: LogFormat,
}

/// Idle and absolute timeout, for sessions that go with the browser and for remembered ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Goes with the browser: may rest this long.
    pub idle: Duration,
    /// Goes with the browser: ends after this long.
    pub absolute: Duration,
    /// Remembered: may rest this long.
    pub remembered_idle: Duration,
    /// Remembered: ends after this long.
    pub remembered_absolute: Duration,
}

/// Which PostgreSQL.
#[derive(Clone)]
pub enum Database {
    /// One of our own, started and stopped with us.
    Private,
    /// The one at this address.
    Url(SecretText),
}

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Everybody.
    Open,
    /// Everybody who shows that the address is theirs.
    Verified,
    /// Nobody; operators make accounts.
    Closed,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

fn is_postgres(url: &SecretText) -> bool {
    Url::parse(url.reveal()).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"))
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Invalid configuration:")?;
        self.0.iter().try_for_each(|problem| write!(out, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigErrors {}

impl Config {
    /// From the environment, then `.env` in the working directory for what is not there.
    pub fn from_env() -> Result<Self, ConfigErrors> {
        let mut settings = BTreeMap::new();
        match dotenvy::from_path_iter(".env") {
            Ok(pairs) => {
                for pair in pairs {
                    // The message of dotenvy repeats the line, which may hold a secret.
                    let (name, value) = pair.map_err(|_| {
                        ConfigErrors(vec![
                            ".env has a line that is not NAME=value. Quote values that contain spaces.".to_owned(),
                        ])
                    })?;
                    settings.insert(name, value);
                }
            }
            Err(error) if error.not_found() => {}
            Err(error) => {
                return Err(ConfigErrors(vec![format!(".env cannot be read: {error}")]));
            }
        }
        for (name, value) in std::env::vars_os() {
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
                settings.insert(name, value);
            }
        }
        Self::from_map(&settings)
    }

    /// The keys: those that are set, or those of the data folder, made there once.
    pub fn secret_keys(&self) -> anyhow::Result<SecretKeys> {
        match &self.secret_keys {
            Some(keys) => Ok(keys.clone()),
            None => SecretKeys::load_or_create(&self.data_dir),
        }
    }

    /// From names and values.
    pub fn from_map(settings: &BTreeMap<String, String>) -> Result<Self, ConfigErrors> {
        let mut read = Reader::new(settings);
        read.refuse_unknown(&NAMES);
        let url = read.secret("DATABASE_URL");
        let database = match url {
            None => Database::Private,
            Some(url) => {
                if !is_postgres(&url) {
                    read.problem("DATABASE_URL", LIKE_A_DATABASE);
                }
                Database::Url(url)
            }
        };
        let secret_keys = read.secret("FRONTDESK_SECRET_KEYS").and_then(|text| {
            SecretKeys::parse(text.reveal())
                .map_err(|weak| read.problem("FRONTDESK_SECRET_KEYS", &weak.to_string()))
                .ok()
        });
        if matches!(database, Database::Url(_)) && !read.is_set("FRONTDESK_SECRET_KEYS") {
            read.problem(
                "FRONTDESK_SECRET_KEYS",
                "must be set if DATABASE_URL is set. Generate a key with: openssl rand -base64 48",
            );
        }
        let session = Windows {
            idle: read.duration("FRONTDESK_SESSION_IDLE_TIMEOUT", "2h"),
            absolute: read.duration("FRONTDESK_SESSION_ABSOLUTE_TIMEOUT", "24h"),
            remembered_idle: read.duration("FRONTDESK_REMEMBERED_IDLE_TIMEOUT", "14d"),
            remembered_absolute: read.duration("FRONTDESK_REMEMBERED_ABSOLUTE_TIMEOUT", "90d"),
        };
        for (idle, absolute, name, other) in [
            (
                session.idle,
                session.absolute,
                "FRONTDESK_SESSION_IDLE_TIMEOUT",
                "FRONTDESK_SESSION_ABSOLUTE_TIMEOUT",
            ),
            (
                session.remembered_idle,
                session.remembered_absolute,
                "FRONTDESK_REMEMBERED_IDLE_TIMEOUT",
                "FRONTDESK_REMEMBERED_ABSOLUTE_TIMEOUT",
            ),
        ] {
            if idle > absolute {
                read.problem(
                    name,
                    &format!("is longer than {other}. Shorten it, or lengthen {other}"),
                );
            }
        }
        let audit_retention = read.duration("FRONTDESK_AUDIT_RETENTION", "400d");
        if audit_retention < WEEK {
            read.problem(
                "FRONTDESK_AUDIT_RETENTION",
                "is shorter than a week. Set it to 7d or longer",
            );
        }
        let cache_size = read.number("FRONTDESK_SESSION_CACHE_SIZE", 100_000, 1_000..=50_000_000);
        let cached = read
            .choice("FRONTDESK_SESSION_CACHE", &[("on", true), ("off", false)])
            .then_some(cache_size as usize);
        let listen_url = read.secret("FRONTDESK_LISTEN_URL");
        if listen_url.as_ref().is_some_and(|url| !is_postgres(url)) {
            read.problem("FRONTDESK_LISTEN_URL", LIKE_A_DATABASE);
        }
        let public_url = public_url::public_url(&mut read);
        let mail = mail::mail(&mut read);
        let by_mail = matches!(mail.transport, MailTransport::Smtp(_));
        let registration = [
            ("open", Registration::Open),
            ("verified", Registration::Verified),
            ("closed", Registration::Closed),
        ];
        // The first one is the default.
        let first = usize::from(by_mail);
        let registration = [registration[first], registration[1 - first], registration[2]];
        if matches!(mail.transport, MailTransport::Kept)
            && read.text("FRONTDESK_REGISTRATION") == Some("verified")
            && !public_url.is_loopback()
        {
            read.problem(
                "FRONTDESK_REGISTRATION",
                "is verified, but no mail is sent, so no one could register. Set FRONTDESK_SMTP_URL",
            );
        }
        let argon2 = (
            read.number("FRONTDESK_ARGON2_MEMORY_KIB", 19_456, 7_168..=1_048_576),
            read.number("FRONTDESK_ARGON2_ITERATIONS", 2, 1..=20),
            read.number("FRONTDESK_ARGON2_PARALLELISM", 1, 1..=8),
        );
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let config = Config {
            database,
            bind: read.parsed(
                "FRONTDESK_BIND",
                "127.0.0.1:8080",
                "an IP address and a port like 127.0.0.1:8080",
            ),
            metrics_bind: read.is_set("FRONTDESK_METRICS_BIND").then(|| {
                read.parsed(
                    "FRONTDESK_METRICS_BIND",
                    "127.0.0.1:9090",
                    "an IP address and a port like 127.0.0.1:9090",
                )
            }),
            public_url,
            secret_keys,
            data_dir: PathBuf::from(read.text("FRONTDESK_DATA_DIR").unwrap_or(".frontdesk")),
            migrate: read.choice("FRONTDESK_MIGRATE", &[("on", true), ("off", false)]),
            registration: read.choice("FRONTDESK_REGISTRATION", &registration),
            session,
            session_cache: cached,
            listen_url,
            purge_interval: read.duration("FRONTDESK_PURGE_INTERVAL", "5m"),
            password_min_length: read.number("FRONTDESK_PASSWORD_MIN_LENGTH", 8, 8..=64) as usize,
            argon2_memory_kib: argon2.0,
            argon2_iterations: argon2.1,
            argon2_parallelism: argon2.2,
            site_name: site_name(&mut read),
            mail,
            trusted_proxies: proxies::trusted_proxies(&mut read),
            audit_retention,
            pool_size: read.number("FRONTDESK_DATABASE_POOL_SIZE", 10, 2..=500),
            workers: read.number("FRONTDESK_WORKERS", cores, 1..=256) as usize,
            log: read
                .choice("FRONTDESK_LOG", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
        };
        read.finish()?;
        Ok(config)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Config")
            .field("database", &self.database)
            .field("bind", &self.bind)
            .field("public_url", &self.public_url)
            .field("secret_keys", &self.secret_keys)
            .field("data_dir", &self.data_dir)
            .field("migrate", &self.migrate)
            .field("registration", &self.registration)
            .field("session", &self.session)
            .field("session_cache", &self.session_cache)
            .field("listen_url", &self.listen_url)
            .field("purge_interval", &self.purge_interval)
            .field("password_min_length", &self.password_min_length)
            .field("argon2_memory_kib", &self.argon2_memory_kib)
            .field("argon2_iterations", &self.argon2_iterations)
            .field("argon2_parallelism", &self.argon2_parallelism)
            .field("pool_size", &self.pool_size)
            .field("metrics_bind", &self.metrics_bind)
            .field("site_name", &self.site_name)
            .field("mail", &self.mail)
            .field("trusted_proxies", &self.trusted_proxies)
            .field("audit_retention", &self.audit_retention)
            .field("workers", &self.workers)
            .field("log", &self.log)
            .finish()
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::Private => out.write_str("Private"),
            Database::Url(url) => match Url::parse(url.reveal()) {
                Ok(url) => write!(out, "{}{}", url.host_str().unwrap_or("(socket)"), url.path()),
                Err(_) => out.write_str("(unreadable)"),
            },
        }
    }
}

/// A name that fits into a title and into the subject of a mail.
fn site_name(read: &mut Reader<'_>) -> String {
    let name = read.text("FRONTDESK_SITE_NAME").unwrap_or("Frontdesk").trim().to_owned();
    if name.chars().count() > 64 || name.chars().any(char::is_control) {
        read.problem("FRONTDESK_SITE_NAME", "must be a single line of at most 64 characters");
    }
    name
}

#[cfg(test)]
mod tests;
