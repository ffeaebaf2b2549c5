//! Reads the settings from the environment and `.env`. Every problem is reported, each with the values that are
//! allowed. No message contains a secret.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::error::ConfigErrors;
use super::parse::Reader;
use super::{
    Config, DatabaseLocation, LogFormat, MailTransport, Registration, SecretKeys, Timeouts, mail,
    proxies, public_url,
};
use crate::crypto::secret::SecretText;

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
const LIKE_A_DATABASE: &str = "is not an address like postgres://user:password@host/database";

fn is_postgres(url: &SecretText) -> bool {
    Url::parse(url.reveal()).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"))
}

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
                            ".env has a line that is not NAME=value. Put values with spaces in quotes.".to_owned(),
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

    /// From names and values.
    pub fn from_map(settings: &BTreeMap<String, String>) -> Result<Self, ConfigErrors> {
        let mut read = Reader::new(settings);
        read.refuse_unknown(&NAMES);
        let url = read.secret("DATABASE_URL");
        let database = match url {
            None => DatabaseLocation::Private,
            Some(url) => {
                if !is_postgres(&url) {
                    read.problem("DATABASE_URL", LIKE_A_DATABASE);
                }
                DatabaseLocation::Url(url)
            }
        };
        let secret_keys = read.secret("FRONTDESK_SECRET_KEYS").and_then(|text| {
            SecretKeys::parse(text.reveal())
                .map_err(|weak| read.problem("FRONTDESK_SECRET_KEYS", &weak.to_string()))
                .ok()
        });
        if matches!(database, DatabaseLocation::Url(_)) && !read.is_set("FRONTDESK_SECRET_KEYS") {
            read.problem(
                "FRONTDESK_SECRET_KEYS",
                "must be set with DATABASE_URL. Make a key with: openssl rand -base64 48",
            );
        }
        let session = Timeouts {
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
                    &format!("is longer than {other}. Make it shorter, or the other longer"),
                );
            }
        }
        let audit_retention = read.duration("FRONTDESK_AUDIT_RETENTION", "400d");
        if audit_retention < WEEK {
            read.problem(
                "FRONTDESK_AUDIT_RETENTION",
                "is shorter than a week. Make it 7d or longer",
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
        if matches!(mail.transport, MailTransport::OutboxOnly)
            && read.text("FRONTDESK_REGISTRATION") == Some("verified")
            && !public_url.is_loopback()
        {
            read.problem(
                "FRONTDESK_REGISTRATION",
                "is verified, and no mail is sent, so nobody could ever register. Set FRONTDESK_SMTP_URL",
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
                "an address and a port like 127.0.0.1:8080",
            ),
            metrics_bind: read.is_set("FRONTDESK_METRICS_BIND").then(|| {
                read.parsed(
                    "FRONTDESK_METRICS_BIND",
                    "127.0.0.1:9090",
                    "an address and a port like 127.0.0.1:9090",
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

/// A name that fits into a title and into the subject of a mail.
fn site_name(read: &mut Reader<'_>) -> String {
    let name = read.text("FRONTDESK_SITE_NAME").unwrap_or("Frontdesk").trim().to_owned();
    if name.chars().count() > 64 || name.chars().any(char::is_control) {
        read.problem("FRONTDESK_SITE_NAME", "takes a name of at most 64 characters on one line");
    }
    name
}
