//! The settings. They are read once, at startup, from the environment and `.env`. No other module reads the
//! environment.

mod bind;
mod env_file;
mod error;
mod features;
mod keys;
mod kubernetes;
mod load;
mod mail;
mod operator;
mod parse;
pub mod postgres_url;
mod proxies;
mod public_url;
mod security_contact;
mod site_links;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use bind::BindAddress;
pub use error::ConfigErrors;
pub use features::{MissingFeature, missing_features};
pub use keys::{SecretKeys, WeakKey};
pub use load::{NAMES, SCHEMA_NAMES, environment, is_schema_name};
pub use mail::{Mail, MailTransport};
pub use operator::operator_name;
pub use parse::{duration, text_or_file};
pub use postgres_url::PostgresUrl;
pub use proxies::canonical_network;
pub use public_url::PublicUrl;
pub use site_links::{SiteLinks, SiteValues};

/// The variable of the environment with which `testing` starts a server: its standard input is a pipe that is open as
/// long as the process of the tests lives.
#[cfg(feature = "testing")]
pub const ENDS_WITH_INPUT: &str = "TEST_SERVER_ENDS_WITH_INPUT";

/// Whether the server ends when its standard input is closed.
#[cfg(feature = "testing")]
pub fn ends_with_input() -> bool {
    std::env::var_os(ENDS_WITH_INPUT).is_some()
}

/// All settings. Its `Debug` output contains no secret: each secret field has a type that redacts itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// The location of the database.
    pub database: DatabaseLocation,
    /// Whether connections to PostgreSQL over a network are expected to be verified (TLS). `false`: an operator
    /// has said that they are not.
    pub database_tls: bool,
    /// Where the site listens, unless systemd passes sockets.
    pub bind: Vec<BindAddress>,
    /// The schema of Frontdesk's tables; `None`: the first one of the connection's search path.
    pub schema: Option<String>,
    /// The schema of a website's own tables.
    pub site_schema: String,
    /// Maximum number of connections in the pool of a website's handlers.
    pub site_pool_size: u32,
    /// How long an idle connection stays open; zero: a connection is closed after its first response.
    pub keep_alive: Duration,
    /// How long the site keeps accepting connections after the stop signal, so that load balancers notice.
    pub drain: Duration,
    /// The `Strict-Transport-Security` header of an https site.
    pub hsts: Hsts,
    /// The address and port of the metrics listener; `None`: `/metrics` is not served.
    pub metrics_bind: Option<SocketAddr>,
    /// The URL by which browsers reach the site.
    pub public_url: PublicUrl,
    /// Where to report security problems, as URIs for `security.txt`; empty: that file does not exist.
    pub security_contacts: Vec<String>,
    /// The keys that seal cookies. `None` only with a private database: they are then generated once and kept
    /// in the data folder.
    pub secret_keys: Option<SecretKeys>,
    /// The folder of the private database and the generated keys.
    pub data_dir: PathBuf,
    /// Whether migrations are applied at startup.
    pub migrate: bool,
    /// Who may register.
    pub registration: Registration,
    /// Timeouts of new sessions.
    pub session: Timeouts,
    /// Maximum number of live sessions of one user; `0`: no limit.
    pub sessions_per_user: u32,
    /// Maximum number of cached sessions; `None`: no cache, every page reads the session from the database.
    pub session_cache: Option<usize>,
    /// PostgreSQL URL for the LISTEN connection; `None`: the same as for the database.
    pub listen_url: Option<PostgresUrl>,
    /// Interval between deletions of expired sessions.
    pub purge_interval: Duration,
    /// Minimum password length in characters.
    pub password_min_length: usize,
    /// Memory of one password hash, in KiB.
    pub argon2_memory_kib: u32,
    /// Passes of argon2 over its memory.
    pub argon2_iterations: u32,
    /// Lanes of argon2.
    pub argon2_parallelism: u32,
    /// Name of the site on pages and in mails.
    pub site_name: String,
    /// The links to the home page, the support and the legal pages.
    pub links: SiteLinks,
    /// The color schemes of pages and mails.
    pub color_scheme: ColorScheme,
    /// A folder of static files, which replace the embedded ones by name.
    pub static_dir: Option<PathBuf>,
    /// A folder of templates, which replace the embedded ones by name.
    pub templates_dir: Option<PathBuf>,
    /// The folder of messages that replace Frontdesk's.
    pub locales_dir: Option<PathBuf>,
    /// How mail is sent.
    pub mail: Mail,
    /// Proxies whose forwarding headers are trusted; empty: none.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Retention of the audit log.
    pub audit_retention: Duration,
    /// Maximum number of connections in the pool of the request handlers.
    pub pool_size: u32,
    /// Number of HTTP worker threads.
    pub workers: usize,
    /// Format of log lines.
    pub log: LogFormat,
    /// Whether the log lines of a request contain the IP address of its client.
    pub log_client_ip: bool,
}

/// The idle and absolute timeouts of the two kinds of session (OWASP ASVS 5.0 V7.3.1, V7.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Idle timeout of a session whose cookie lasts until the browser is closed.
    pub idle: Duration,
    /// Absolute timeout of a session whose cookie lasts until the browser is closed.
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

/// The search path for programs, which child processes need.
pub fn search_path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}

/// The location of the database.
#[derive(Clone, Debug)]
pub enum DatabaseLocation {
    /// A private cluster, started and stopped with this process.
    Private,
    /// The database with this URL.
    Url(Box<PostgresUrl>),
}

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Anyone.
    Open,
    /// Anyone who verifies their email.
    Verified,
    /// No one. Operators create accounts.
    Closed,
}

/// The scope of HTTP Strict Transport Security (RFC 6797).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hsts {
    /// The host of the public URL and all hosts below it.
    Subdomains,
    /// The host of the public URL only.
    Host,
    /// The header is not sent.
    Off,
}

/// The color schemes of pages and mails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ColorScheme {
    /// The one that the browser prefers.
    #[default]
    Auto,
    /// Light only.
    Light,
    /// Dark only.
    Dark,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

/// The program that reads the settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct Program<'a> {
    /// The default of `FRONTDESK_SITE_NAME`; `None`: "Frontdesk".
    pub site_name: Option<&'a str>,
    /// Whether it is a website built on the crate: it has tables of its own, in a schema of their own.
    pub is_website: bool,
}

/// Whether `FRONTDESK_SECRET_KEYS` must be set with `DATABASE_URL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRequirement {
    /// It must be set.
    Required,
    /// The command does not use the keys.
    Optional,
}

impl Config {
    /// Whether users can read mail: it is sent, or shown in the development mailbox.
    pub fn mail_is_on(&self) -> bool {
        self.mail.is_sent() || self.public_url.is_loopback()
    }

    /// What templates know of the site.
    pub fn site(&self) -> SiteValues {
        SiteValues::new(&self.site_name, &self.public_url, &self.links)
    }

    /// The search path of a site's statements: its own schema, then that of Frontdesk's tables.
    pub fn site_search_path(&self) -> String {
        match &self.schema {
            Some(own) => format!("{}, {own}", self.site_schema),
            None => self.site_schema.clone(),
        }
    }

    /// The schema of Frontdesk's tables, for statements on the connections of a site.
    pub fn own_search_path(&self) -> String {
        self.schema.clone().unwrap_or_else(|| "public".to_owned())
    }

    /// The configured keys, or else those in the data folder, which are generated once.
    pub fn secret_keys(&self) -> anyhow::Result<SecretKeys> {
        match &self.secret_keys {
            Some(keys) => Ok(keys.clone()),
            None => SecretKeys::load_or_create(&self.data_dir),
        }
    }

    /// The settings whose connections cross a network without verified TLS, each with its host. Empty if that
    /// is meant.
    pub fn unverified_databases(&self) -> Vec<(&'static str, &str)> {
        if !self.database_tls {
            return Vec::new();
        }
        let database = match &self.database {
            DatabaseLocation::Url(url) => url.unverified_host(),
            DatabaseLocation::Private => None,
        };
        let listen = self.listen_url.as_ref().and_then(PostgresUrl::unverified_host);
        [("DATABASE_URL", database), ("FRONTDESK_LISTEN_URL", listen)]
            .into_iter()
            .filter_map(|(setting, host)| Some((setting, host?)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
