//! Reads the settings from the environment and `.env`. Every problem is reported, each with the values that
//! are allowed. No message contains a secret.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConfigErrors;
use super::parse::{SettingsReader, is_ours};
use super::{
    ColorScheme, Config, DatabaseLocation, Hsts, KeyRequirement, LogFormat, Mail, MailTransport,
    PostgresUrl, Program, PublicUrl, Registration, SecretKeys, Timeouts, bind, env_file, mail,
    proxies, public_url, security_contact, site_links,
};

/// Every setting. Other names that begin with `FRONTDESK_` in upper or lower case are refused.
pub const NAMES: &[&str] = &[
    "DATABASE_URL",
    "FRONTDESK_BIND",
    "FRONTDESK_KEEP_ALIVE",
    "FRONTDESK_DRAIN",
    "FRONTDESK_HSTS",
    "FRONTDESK_SECURITY_CONTACT",
    "FRONTDESK_DATABASE_TLS",
    "FRONTDESK_PUBLIC_URL",
    "FRONTDESK_SECRET_KEYS",
    "FRONTDESK_DATA_DIR",
    "FRONTDESK_MIGRATE",
    "FRONTDESK_REGISTRATION",
    "FRONTDESK_SESSION_IDLE_TIMEOUT",
    "FRONTDESK_SESSION_ABSOLUTE_TIMEOUT",
    "FRONTDESK_REMEMBERED_IDLE_TIMEOUT",
    "FRONTDESK_REMEMBERED_ABSOLUTE_TIMEOUT",
    "FRONTDESK_SESSIONS_PER_USER",
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
    "FRONTDESK_SCHEMA",
    "FRONTDESK_SITE_SCHEMA",
    "FRONTDESK_SITE_POOL_SIZE",
    "FRONTDESK_METRICS_BIND",
    "FRONTDESK_WORKERS",
    "FRONTDESK_LOG",
    "FRONTDESK_LOG_CLIENT_IP",
    "FRONTDESK_SITE_NAME",
    "FRONTDESK_STATIC_DIR",
    "FRONTDESK_COLOR_SCHEME",
    "FRONTDESK_HOME_URL",
    "FRONTDESK_SUPPORT_URL",
    "FRONTDESK_TERMS_URL",
    "FRONTDESK_PRIVACY_URL",
    "FRONTDESK_IMPRINT_URL",
    "FRONTDESK_TEMPLATES_DIR",
    "FRONTDESK_LOCALES_DIR",
    "FRONTDESK_SMTP_URL",
    "FRONTDESK_SMTP_URL_FILE",
    "FRONTDESK_SMTP_CA_FILE",
    "FRONTDESK_MAIL_FROM",
    "FRONTDESK_MAIL_REPLY_TO",
    "FRONTDESK_MAIL_DIR",
    "FRONTDESK_TRUSTED_PROXIES",
    "FRONTDESK_AUDIT_RETENTION",
    "DATABASE_URL_FILE",
    "FRONTDESK_SECRET_KEYS_FILE",
];

/// The shortest retention of the audit log. The database function `audit_events_forget` also refuses a
/// shorter one.
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const ON_OR_OFF: [(&str, bool); 2] = [("on", true), ("off", false)];
/// Off by default.
const OFF_OR_ON: [(&str, bool); 2] = [("off", false), ("on", true)];

/// The names and values of the environment. Variables that are not in it are taken from `.env` in the working
/// directory.
pub fn environment() -> Result<BTreeMap<String, String>, ConfigErrors> {
    let mut settings = env_file::read(Path::new(".env"))?;
    let mut problems = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => {
                settings.insert(name, value);
            }
            // Ignoring it would silently use the default.
            Err(_) if is_ours(&name, NAMES) => {
                problems.push(format!("{name} is not UTF-8 text."));
            }
            Err(_) => {}
        }
    }
    if problems.is_empty() { Ok(settings) } else { Err(ConfigErrors(problems)) }
}

impl Config {
    /// Reads the settings of the program `frontdesk` from names and values.
    pub fn from_map(settings: &BTreeMap<String, String>) -> Result<Self, ConfigErrors> {
        Self::read(settings, KeyRequirement::Required, Program::default())
    }

    /// Reads the settings of `program` from names and values.
    pub fn read(
        settings: &BTreeMap<String, String>,
        keys: KeyRequirement,
        program: Program<'_>,
    ) -> Result<Self, ConfigErrors> {
        let mut read = SettingsReader::new(settings);
        read.refuse_unknown(NAMES);
        let (database, secret_keys) = database_and_keys(&mut read, keys);
        let session = timeouts(&mut read);
        let audit_retention = audit_retention(&mut read);
        let session_cache = session_cache(&mut read);
        let listen_url = postgres_url(&mut read, "FRONTDESK_LISTEN_URL");
        let public_url = public_url::public_url(&mut read);
        let mail = mail::mail(&mut read);
        let registration = registration(&mut read, &mail, &public_url);
        let argon2_memory_kib =
            read.number("FRONTDESK_ARGON2_MEMORY_KIB", 19_456, 7_168..=1_048_576);
        let argon2_iterations = read.number("FRONTDESK_ARGON2_ITERATIONS", 2, 1..=20);
        let argon2_parallelism = read.number("FRONTDESK_ARGON2_PARALLELISM", 1, 1..=8);
        let (schema, site_schema) = schemas(&mut read, program.is_website);
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let config = Config {
            database,
            schema,
            site_schema,
            site_pool_size: read.number("FRONTDESK_SITE_POOL_SIZE", 10, 1..=500),
            database_tls: read.choice("FRONTDESK_DATABASE_TLS", &ON_OR_OFF),
            bind: bind::bind(&mut read),
            metrics_bind: metrics_bind(&mut read),
            keep_alive: read.duration_or_zero("FRONTDESK_KEEP_ALIVE", "75s"),
            drain: read.duration_or_zero("FRONTDESK_DRAIN", "5s"),
            hsts: read.choice(
                "FRONTDESK_HSTS",
                &[("subdomains", Hsts::Subdomains), ("host", Hsts::Host), ("off", Hsts::Off)],
            ),
            links: site_links::site_links(&mut read, &public_url),
            public_url,
            security_contacts: security_contact::security_contacts(&mut read),
            secret_keys,
            data_dir: PathBuf::from(read.text("FRONTDESK_DATA_DIR").unwrap_or(".frontdesk")),
            migrate: read.choice("FRONTDESK_MIGRATE", &ON_OR_OFF),
            registration,
            session,
            sessions_per_user: read.number("FRONTDESK_SESSIONS_PER_USER", 100, 0..=1_000_000),
            session_cache,
            listen_url,
            purge_interval: read.duration("FRONTDESK_PURGE_INTERVAL", "5m"),
            password_min_length: read.number("FRONTDESK_PASSWORD_MIN_LENGTH", 8, 8..=64) as usize,
            argon2_memory_kib,
            argon2_iterations,
            argon2_parallelism,
            site_name: site_name(&mut read, program.site_name),
            color_scheme: read.choice(
                "FRONTDESK_COLOR_SCHEME",
                &[
                    ("auto", ColorScheme::Auto),
                    ("light", ColorScheme::Light),
                    ("dark", ColorScheme::Dark),
                ],
            ),
            static_dir: read.text("FRONTDESK_STATIC_DIR").map(PathBuf::from),
            locales_dir: read.text("FRONTDESK_LOCALES_DIR").map(PathBuf::from),
            templates_dir: read.text("FRONTDESK_TEMPLATES_DIR").map(PathBuf::from),
            mail,
            trusted_proxies: proxies::trusted_proxies(&mut read),
            audit_retention,
            pool_size: read.number("FRONTDESK_DATABASE_POOL_SIZE", 10, 2..=500),
            workers: read.number("FRONTDESK_WORKERS", cores, 1..=256) as usize,
            log: read
                .choice("FRONTDESK_LOG", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            log_client_ip: read.choice("FRONTDESK_LOG_CLIENT_IP", &OFF_OR_ON),
        };
        read.finish()?;
        Ok(config)
    }
}

fn database_and_keys(
    read: &mut SettingsReader<'_>,
    requirement: KeyRequirement,
) -> (DatabaseLocation, Option<SecretKeys>) {
    let database = match postgres_url(read, "DATABASE_URL") {
        None => DatabaseLocation::Private,
        Some(url) => DatabaseLocation::Url(Box::new(url)),
    };
    let keys = read.secret("FRONTDESK_SECRET_KEYS").and_then(|text| {
        SecretKeys::parse(text.reveal())
            .map_err(|weak| read.problem("FRONTDESK_SECRET_KEYS", &weak.to_string()))
            .ok()
    });
    if requirement == KeyRequirement::Required
        && matches!(database, DatabaseLocation::Url(_))
        && !read.is_set("FRONTDESK_SECRET_KEYS")
    {
        read.problem(
            "FRONTDESK_SECRET_KEYS",
            "must be set with DATABASE_URL. Generate a key with: openssl rand -base64 48",
        );
    }
    (database, keys)
}

/// The schemas of Frontdesk's tables and of the website's. A website keeps them apart; the program `frontdesk` uses
/// the search path of the connection unless a schema is set.
fn schemas(read: &mut SettingsReader<'_>, is_website: bool) -> (Option<String>, String) {
    let own = schema(read, "FRONTDESK_SCHEMA").or_else(|| is_website.then(|| "frontdesk".into()));
    let site = schema(read, "FRONTDESK_SITE_SCHEMA").unwrap_or_else(|| "public".to_owned());
    if is_website && own.as_ref() == Some(&site) {
        let problem =
            "is the schema of the site's tables (FRONTDESK_SITE_SCHEMA) too. Use two schemas";
        read.problem("FRONTDESK_SCHEMA", problem);
    }
    (own, site)
}

fn schema(read: &mut SettingsReader<'_>, name: &str) -> Option<String> {
    let schema = read.text(name)?;
    if !is_schema_name(schema) {
        read.problem(name, SCHEMA_NAMES);
    }
    Some(schema.to_owned())
}

/// What [`is_schema_name`] accepts, for messages.
pub const SCHEMA_NAMES: &str = "must be a name of at most 63 lower-case letters, digits and underscores that does not begin with a digit or pg_";

/// Whether `name` can be a schema of Frontdesk or of a site: without quotation marks, so that every statement finds it.
pub fn is_schema_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    name.len() <= 63
        && name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
        && !name.starts_with("pg_")
}

fn postgres_url(read: &mut SettingsReader<'_>, name: &str) -> Option<PostgresUrl> {
    let text = read.secret(name)?;
    PostgresUrl::parse(text.reveal()).map_err(|problem| read.problem(name, &problem)).ok()
}

fn timeouts(read: &mut SettingsReader<'_>) -> Timeouts {
    let (idle, absolute) = timeout_pair(
        read,
        ("FRONTDESK_SESSION_IDLE_TIMEOUT", "2h"),
        ("FRONTDESK_SESSION_ABSOLUTE_TIMEOUT", "24h"),
    );
    let (remembered_idle, remembered_absolute) = timeout_pair(
        read,
        ("FRONTDESK_REMEMBERED_IDLE_TIMEOUT", "14d"),
        ("FRONTDESK_REMEMBERED_ABSOLUTE_TIMEOUT", "90d"),
    );
    Timeouts { idle, absolute, remembered_idle, remembered_absolute }
}

/// Reads an idle and an absolute timeout, each given as name and default.
fn timeout_pair(
    read: &mut SettingsReader<'_>,
    (idle_name, idle_default): (&str, &str),
    (absolute_name, absolute_default): (&str, &str),
) -> (Duration, Duration) {
    let idle = read.duration(idle_name, idle_default);
    let absolute = read.duration(absolute_name, absolute_default);
    if idle > absolute {
        let problem =
            format!("is longer than {absolute_name}. Make it shorter, or the other longer");
        read.problem(idle_name, &problem);
    }
    (idle, absolute)
}

fn audit_retention(read: &mut SettingsReader<'_>) -> Duration {
    let retention = read.duration("FRONTDESK_AUDIT_RETENTION", "400d");
    if retention < WEEK {
        read.problem("FRONTDESK_AUDIT_RETENTION", "is shorter than a week. Set it to 7d or longer");
    }
    retention
}

fn session_cache(read: &mut SettingsReader<'_>) -> Option<usize> {
    let size = read.number("FRONTDESK_SESSION_CACHE_SIZE", 100_000, 1_000..=50_000_000);
    read.choice("FRONTDESK_SESSION_CACHE", &ON_OR_OFF).then_some(size as usize)
}

/// Reads `FRONTDESK_REGISTRATION`. The default is `verified` where an SMTP server is set, otherwise `open`.
fn registration(
    read: &mut SettingsReader<'_>,
    mail: &Mail,
    public_url: &PublicUrl,
) -> Registration {
    let name = "FRONTDESK_REGISTRATION";
    if matches!(mail.transport, MailTransport::OutboxOnly)
        && read.text(name) == Some("verified")
        && !public_url.is_loopback()
    {
        read.problem(
            name,
            "is verified, but no mail is sent, so no registration could be completed. Set FRONTDESK_SMTP_URL",
        );
    }
    // `choice` takes the first one as the default.
    let mut choices = [
        ("open", Registration::Open),
        ("verified", Registration::Verified),
        ("closed", Registration::Closed),
    ];
    if matches!(mail.transport, MailTransport::Smtp(_)) {
        choices.swap(0, 1);
    }
    read.choice(name, &choices)
}

fn metrics_bind(read: &mut SettingsReader<'_>) -> Option<SocketAddr> {
    const EXAMPLE: &str = "127.0.0.1:9090";
    let name = "FRONTDESK_METRICS_BIND";
    read.is_set(name)
        .then(|| read.parsed(name, EXAMPLE, &format!("an IP address and a port like {EXAMPLE}")))
}

/// The name must fit into page titles and into the subject of a mail.
fn site_name(read: &mut SettingsReader<'_>, default: Option<&str>) -> String {
    let default = default.unwrap_or("Frontdesk");
    let name = read.text("FRONTDESK_SITE_NAME").unwrap_or(default).trim().to_owned();
    if name.chars().count() > 64 || name.chars().any(char::is_control) {
        read.problem("FRONTDESK_SITE_NAME", "must be a single line of at most 64 characters");
    }
    name
}
