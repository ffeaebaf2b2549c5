//! `frontdesk doctor`: checks settings, database and mail, and explains how to fix each problem.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;

use super::exit::ExitStatus;
use super::out;
use super::out::sentence;
use crate::config::{Config, DatabaseLocation, SecretKeys};
use crate::db::{self, migrations};
use crate::mail::Transport;
use crate::session::cache::invalidation;

/// In seconds. Sessions expire by the database's clock, but pages show relative times by this machine's
/// clock.
const MAX_CLOCK_DIFFERENCE: f64 = 2.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Problem,
}

#[derive(Debug, Serialize)]
struct Finding {
    verdict: Verdict,
    #[serde(rename = "what")]
    check: &'static str,
    #[serde(rename = "said")]
    message: String,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, verdict: Verdict, check: &'static str, message: impl Into<String>) {
        self.0.push(Finding { verdict, check, message: message.into() });
    }

    fn has(&self, verdict: Verdict) -> bool {
        self.0.iter().any(|finding| finding.verdict == verdict)
    }

    fn print(&self) {
        for Finding { verdict, check, message } in &self.0 {
            let verdict = match verdict {
                Verdict::Ok => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Problem => "problem",
            };
            out::line(&format!("{verdict}  {check:<9} {message}"));
        }
        out::line(match (self.has(Verdict::Problem), self.has(Verdict::Warning)) {
            (true, _) => "Problems found.",
            (false, true) => "OK, with warnings.",
            (false, false) => "Everything OK.",
        });
    }
}

pub(super) async fn run(config: &Config, json: bool) -> anyhow::Result<ExitStatus> {
    let mut findings = Findings::default();
    findings.add(Verdict::Ok, "settings", "All settings are known and valid.");
    cookies(config, &mut findings);
    keys(config, &mut findings);
    mail(config, &mut findings).await;
    match db::connect(config, true).await {
        Ok(database) => {
            check_database(config, &database, &mut findings).await;
            database.close().await?;
        }
        Err(error) => findings.add(Verdict::Problem, "database", sentence(&error)),
    }
    let is_healthy = !findings.has(Verdict::Problem);
    if json {
        out::json(&serde_json::json!({ "healthy": is_healthy, "findings": findings.0 }))?;
    } else {
        findings.print();
    }
    Ok(if is_healthy { ExitStatus::Done } else { ExitStatus::Problems })
}

async fn check_database(config: &Config, database: &db::Database, findings: &mut Findings) {
    let pool = &database.pool;
    let place = format!("Connected to {}.", database.description());
    findings.add(Verdict::Ok, "database", place);
    if let Err(error) = server(config, pool, findings).await {
        findings.add(Verdict::Problem, "database", sentence(&error));
    }
    if let Err(error) = notification_queue(pool, findings).await {
        findings.add(Verdict::Problem, "queue", sentence(&error));
    }
    notifications(config, database, findings).await;
}

/// Whether notifications arrive. Without them, sessions are not served from the cache.
async fn notifications(config: &Config, database: &db::Database, findings: &mut Findings) {
    if config.session_cache.is_none() {
        findings.add(Verdict::Ok, "cache", "Off: every signed-in page queries the database.");
        return;
    }
    let round_trip = async {
        let options = database.listen_options(config)?;
        if invalidation::shares_backends(&options).await? {
            anyhow::bail!("the connection goes through a pooler in transaction mode");
        }
        let pool =
            sqlx::postgres::PgPoolOptions::new().max_connections(1).connect_with(options).await?;
        let mut listener = sqlx::postgres::PgListener::connect_with(&pool).await?;
        listener.listen("frontdesk.doctor").await?;
        let mut other = database.pool.acquire().await?;
        sqlx::query("SELECT pg_notify('frontdesk.doctor', '')").execute(&mut *other).await?;
        listener.recv().await?;
        anyhow::Ok(())
    };
    match tokio::time::timeout(std::time::Duration::from_secs(3), round_trip).await {
        Ok(Ok(())) => findings.add(Verdict::Ok, "cache", "Notifications arrive: sessions are served from the cache."),
        Ok(Err(error)) => findings.add(
            Verdict::Warning,
            "cache",
            format!("LISTEN failed ({error:#}), so every signed-in page queries the database. Set FRONTDESK_LISTEN_URL to a direct PostgreSQL URL, or set FRONTDESK_SESSION_CACHE=off."),
        ),
        Err(_) => findings.add(
            Verdict::Warning,
            "cache",
            "Notifications do not arrive (a common cause is a pooler in transaction mode), so every signed-in page queries the database. Set FRONTDESK_LISTEN_URL to a direct PostgreSQL URL, or set FRONTDESK_SESSION_CACHE=off.",
        ),
    }
}

/// Fill levels of the notification queue, from 0 to 1, that are reported as a warning and as a problem.
const QUEUE_WARNING: f64 = 0.1;
const QUEUE_PROBLEM: f64 = 0.9;

/// Whether a transaction prevents PostgreSQL from emptying its notification queue.
async fn notification_queue(pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    let usage = invalidation::notification_queue_usage(pool).await?;
    let percent = usage * 100.0;
    if usage < QUEUE_WARNING {
        findings.add(
            Verdict::Ok,
            "queue",
            format!("The notification queue is {percent:.0} % full."),
        );
        return Ok(());
    }
    // Only a superuser or a member of pg_read_all_stats sees the transactions of other users.
    let oldest: Option<(i32, String)> = sqlx::query_as(
        "SELECT pid, application_name FROM pg_stat_activity
          WHERE state LIKE 'idle in transaction%' ORDER BY xact_start LIMIT 1",
    )
    .fetch_optional(pool)
    .await?;
    let hint = match oldest {
        Some((pid, name)) => format!(
            "The oldest idle transaction belongs to process {pid} (application_name {name:?}). To end it, run: SELECT pg_terminate_backend({pid});"
        ),
        None => "PostgreSQL's log names the process once the queue is half full. To see it here, run doctor as a superuser or with the role pg_read_all_stats.".to_owned(),
    };
    findings.add(
        if usage < QUEUE_PROBLEM { Verdict::Warning } else { Verdict::Problem },
        "queue",
        format!(
            "PostgreSQL's notification queue is {percent:.0} % full because a listening connection stays in a transaction. When the queue is full, sessions are not served from the cache and each sign-out takes 3 seconds. {hint}"
        ),
    );
    Ok(())
}

/// Whether mail can be sent, without sending any.
async fn mail(config: &Config, findings: &mut Findings) {
    let transport = match Transport::new(&config.mail, config.public_url.host()) {
        Ok(transport) => transport,
        Err(error) => return findings.add(Verdict::Problem, "mail", sentence(&error)),
    };
    match transport.probe().await {
        Ok(_) if matches!(transport, Transport::OutboxOnly) && config.public_url.is_loopback() => {
            findings.add(
                Verdict::Ok,
                "mail",
                "Kept in the database and shown at /dev/mailbox. Set FRONTDESK_SMTP_URL before going live.",
            );
        }
        Ok(_) if matches!(transport, Transport::OutboxOnly) => findings.add(
            Verdict::Warning,
            "mail",
            "No mail is sent, so users cannot reset their passwords. Set FRONTDESK_SMTP_URL and FRONTDESK_MAIL_FROM.",
        ),
        Ok(description) => findings.add(Verdict::Ok, "mail", description),
        Err(error) => findings.add(Verdict::Problem, "mail", sentence(&error)),
    }
}

fn cookies(config: &Config, findings: &mut Findings) {
    if config.public_url.is_https() {
        findings.add(
            Verdict::Ok,
            "cookie",
            "The cookie is __Host-session with Secure, HttpOnly and SameSite=Lax; sibling subdomains cannot set it.",
        );
    } else {
        findings.add(
            Verdict::Warning,
            "cookie",
            "The cookie is session, without Secure, because FRONTDESK_PUBLIC_URL is a local http:// URL. This is fine for development; set an https:// URL before going live.",
        );
    }
    if config.public_url.is_https() && config.trusted_proxies.is_empty() {
        findings.add(
            Verdict::Warning,
            "proxy",
            "No proxy is trusted, so all visitors appear to have the IP address of the TLS proxy and share its rate limits. Set FRONTDESK_TRUSTED_PROXIES to the proxy's IP address.",
        );
    }
    if config.public_url.is_https() && !config.bind.ip().is_loopback() {
        findings.add(
            Verdict::Warning,
            "address",
            format!("The server listens on {}, which clients may reach without going through your proxy. Listen on 127.0.0.1 if the proxy runs on this machine.", config.bind),
        );
    }
}

fn keys(config: &Config, findings: &mut Findings) {
    if let Some(keys) = &config.secret_keys {
        let count = keys.as_slice().len();
        let message = format!("{count} key(s) set. The first one encrypts; all of them decrypt.");
        return findings.add(Verdict::Ok, "keys", message);
    }
    let path = config.data_dir.join("secret-keys");
    let Ok(metadata) = fs::metadata(&path) else {
        let message = "Will be created in the data folder at the first start.";
        return findings.add(Verdict::Ok, "keys", message);
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        let message = format!("Other users can read {0}. Run: chmod 600 {0}", path.display());
        return findings.add(Verdict::Problem, "keys", message);
    }
    match SecretKeys::load_or_create(&config.data_dir) {
        Ok(_) => {
            let message = format!("Stored in {}, readable only by you.", path.display());
            findings.add(Verdict::Ok, "keys", message);
        }
        Err(error) => findings.add(Verdict::Problem, "keys", sentence(&error)),
    }
}

/// Runs the checks that query the server. Stops at the first query that fails.
async fn server(config: &Config, pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    version(pool, findings).await?;
    match migrations::check(pool).await? {
        Ok(()) => findings.add(Verdict::Ok, "schema", "Up to date."),
        Err(problem) => findings.add(Verdict::Problem, "schema", problem.to_string()),
    }
    clocks(pool, findings).await?;
    connections(config, pool, findings).await?;
    durability(pool, findings).await?;
    if matches!(config.database, DatabaseLocation::Url(_)) {
        encryption(pool, findings).await?;
    }
    Ok(())
}

async fn version(pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(pool)
        .await?;
    let major = version / 10_000;
    if major >= 15 {
        findings.add(Verdict::Ok, "version", format!("PostgreSQL {major}."));
    } else {
        let message = format!("PostgreSQL {major} is too old. Use 15 or newer.");
        findings.add(Verdict::Problem, "version", message);
    }
    Ok(())
}

async fn clocks(pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    let database_time: OffsetDateTime =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await?;
    let difference = (OffsetDateTime::now_utc() - database_time).as_seconds_f64().abs();
    if difference > MAX_CLOCK_DIFFERENCE {
        findings.add(Verdict::Warning, "clocks", format!("The clocks of this machine and of the database are {difference:.1} s apart. Sessions are not affected, but times on pages are wrong. Synchronize both with NTP."));
    } else {
        findings.add(
            Verdict::Ok,
            "clocks",
            format!("The clocks of this machine and of the database are {difference:.3} s apart."),
        );
    }
    Ok(())
}

async fn connections(
    config: &Config,
    pool: &PgPool,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let maximum: i32 = sqlx::query_scalar("SELECT current_setting('max_connections')::int")
        .fetch_one(pool)
        .await?;
    if i64::from(config.pool_size) + 5 > i64::from(maximum) {
        findings.add(Verdict::Warning, "pool", format!("FRONTDESK_DATABASE_POOL_SIZE is {}, but max_connections of PostgreSQL is {maximum}. Lower the pool size or raise max_connections.", config.pool_size));
    } else {
        findings.add(
            Verdict::Ok,
            "pool",
            format!("Up to {} of {maximum} connections.", config.pool_size),
        );
    }
    Ok(())
}

async fn durability(pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(pool).await?;
    let commit: String = sqlx::query_scalar("SHOW synchronous_commit").fetch_one(pool).await?;
    if fsync == "off" {
        findings.add(
            Verdict::Problem,
            "safety",
            "fsync is off: a system crash can corrupt the database. Turn it on.",
        );
    } else if commit == "off" {
        findings.add(Verdict::Warning, "safety", "synchronous_commit is off: a crash of PostgreSQL can undo a sign-out. Turn it on for this database.");
    } else {
        findings.add(Verdict::Ok, "safety", "Committed data survives a crash.");
    }
    Ok(())
}

async fn encryption(pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    let is_encrypted: Option<bool> =
        sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND inet_client_addr() IS NOT NULL AND NOT (inet_client_addr() <<= '127.0.0.0/8' OR inet_client_addr() = '::1')")
            .fetch_optional(pool)
            .await?;
    match is_encrypted {
        Some(false) => findings.add(Verdict::Problem, "tls", "The connection to PostgreSQL crosses a network unencrypted. Add sslmode=verify-full to DATABASE_URL."),
        Some(true) => findings.add(Verdict::Ok, "tls", "The connection to PostgreSQL is encrypted."),
        None => findings.add(Verdict::Ok, "tls", "Not needed: the database is on this machine."),
    }
    Ok(())
}
