//! The settings: read once, from the environment and `.env`, and nowhere else. Everything that is wrong is
//! said at once, each with what is allowed; no secret is ever said.

mod error;
mod keys;
mod load;
mod mail;
mod parse;
mod proxies;
mod public_url;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::crypto::secret::SecretText;
pub use error::ConfigErrors;
pub use keys::{SecretKeys, WeakKey};
pub use load::NAMES;
pub use mail::{Mail, MailTransport};
pub use parse::duration;
pub use public_url::PublicUrl;

/// The settings of a running program.
#[derive(Clone)]
pub struct Config {
    /// Which PostgreSQL.
    pub database: DatabaseLocation,
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
    pub session: Timeouts,
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

/// The idle and absolute timeouts of the two kinds of session (OWASP ASVS 5.0 V7.3.1, V7.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Idle timeout of a session that ends with the browser.
    pub idle: Duration,
    /// Absolute timeout of a session that ends with the browser.
    pub absolute: Duration,
    /// Idle timeout of a remembered session.
    pub remembered_idle: Duration,
    /// Absolute timeout of a remembered session.
    pub remembered_absolute: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        Self {
            idle: Duration::from_secs(2 * HOUR),
            absolute: Duration::from_secs(24 * HOUR),
            remembered_idle: Duration::from_secs(14 * 24 * HOUR),
            remembered_absolute: Duration::from_secs(90 * 24 * HOUR),
        }
    }
}

/// Which PostgreSQL.
#[derive(Clone)]
pub enum DatabaseLocation {
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

impl Config {
    /// The keys: those that are set, or those of the data folder, made there once.
    pub fn secret_keys(&self) -> anyhow::Result<SecretKeys> {
        match &self.secret_keys {
            Some(keys) => Ok(keys.clone()),
            None => SecretKeys::load_or_create(&self.data_dir),
        }
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

impl fmt::Debug for DatabaseLocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseLocation::Private => out.write_str("Private"),
            DatabaseLocation::Url(url) => match Url::parse(url.reveal()) {
                Ok(url) => write!(out, "{}{}", url.host_str().unwrap_or("(socket)"), url.path()),
                Err(_) => out.write_str("(unreadable)"),
            },
        }
    }
}

#[cfg(test)]
mod tests;
