//! The PostgreSQL server and the schema.

use sqlx::PgPool;
use time::OffsetDateTime;

use super::findings::{Findings, Verdict};
use super::{notifications, queues, servers};
use crate::cli::connection;
use crate::cli::out::sentence;
use crate::config::{Config, DatabaseLocation};
use crate::db::foreign_keys::ForeignKey;
use crate::db::migrations::Schema;
use crate::db::private_cluster::is_not_created;
use crate::db::{self, Database, PRIVATE_IN_PRODUCTION};
use crate::site::{Schemas, Site};

/// In seconds. Sessions expire by the database's clock, but pages show relative times by this machine's
/// clock.
const MAX_CLOCK_DIFFERENCE: f64 = 2.0;
/// Connections of a server beside those of its pools: for mail, LISTEN, and for a moment.
const OTHER_CONNECTIONS: i64 = 5;

/// Connects to the database and runs every check that needs it.
pub(super) async fn check(
    config: &Config,
    site: &Site,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let database = match connection::open(config).await {
        Ok(database) => database,
        Err(error) => {
            let verdict = if is_not_created(&error) { Verdict::Warning } else { Verdict::Problem };
            findings.add(verdict, "database", sentence(&error));
            return Ok(());
        }
    };
    if database.cluster().is_some() && config.public_url.is_https() {
        findings.add(Verdict::Warning, "private", PRIVATE_IN_PRODUCTION);
    }
    let place = format!("Connected to {}.", database.description());
    findings.add(Verdict::Ok, "database", place);
    if let Err(error) = server(config, &database, site, findings).await {
        findings.add(Verdict::Problem, "database", sentence(&error));
    }
    if let Err(error) = notifications::queue(&database.pool, findings).await {
        findings.add(Verdict::Problem, "queue", sentence(&error));
    }
    if let Err(error) = servers::check(config, &database.pool, findings).await {
        findings.add(Verdict::Problem, "servers", sentence(&error));
    }
    if let Err(error) = queues::check(&database.pool, findings).await {
        findings.add(Verdict::Problem, "queues", sentence(&error));
    }
    notifications::round_trip(config, &database, findings).await;
    database.close().await
}

/// Runs the checks that query the server. Stops at the first query that fails.
async fn server(
    config: &Config,
    database: &Database,
    site: &Site,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let pool = &database.pool;
    version(pool, findings).await?;
    let schemas = Schemas::new(config, database, site)?;
    if let Err(error) = schemas.require_search_paths().await {
        findings.add(Verdict::Problem, "pooler", sentence(&error));
    }
    foreign_keys(&schemas, findings).await?;
    match schemas.check().await? {
        Ok(Schema::Current) => findings.add(Verdict::Ok, "schema", "Up to date."),
        Ok(newer @ Schema::Newer { .. }) => {
            findings.add(Verdict::Warning, "schema", newer.to_string());
        }
        Err(problem) => findings.add(Verdict::Problem, "schema", problem.to_string()),
    }
    clocks(pool, findings).await?;
    connections(config, pool, site, findings).await?;
    durability(pool, findings).await?;
    replication(pool, findings).await?;
    // Otherwise `settings.rs` has reported the problem, or FRONTDESK_DATABASE_TLS=off says that it is none.
    let is_expected = config.database_tls && config.unverified_databases().is_empty();
    if matches!(config.database, DatabaseLocation::Url(_)) && is_expected {
        encryption(pool, findings).await?;
    }
    Ok(())
}

async fn version(pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(db::on(pool))
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

/// Foreign keys that prevent or slow down deletions. Says nothing without them.
async fn foreign_keys(schemas: &Schemas, findings: &mut Findings) -> anyhow::Result<()> {
    for warning in schemas.foreign_keys().await?.iter().flat_map(ForeignKey::warnings) {
        findings.add(Verdict::Warning, "keys", warning);
    }
    Ok(())
}

async fn clocks(pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    let database_time = db::now(pool).await?;
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
    site: &Site,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let maximum: i32 = sqlx::query_scalar("SELECT current_setting('max_connections')::int")
        .fetch_one(db::on(pool))
        .await?;
    let of_site = if site.is_website() { i64::from(config.site_pool_size) } else { 0 };
    let of_jobs = match site.jobs.len() as i64 {
        0 => 0,
        // Each holds its lock on a connection of its own.
        jobs => i64::from(db::SITE_JOB_POOL_SIZE) + jobs,
    };
    let of_hooks = site.hooks.connections_after_commit();
    let count = i64::from(config.pool_size) + of_site + of_jobs + of_hooks;
    if count + OTHER_CONNECTIONS <= i64::from(maximum) {
        let message = format!("Up to {count} of {maximum} connections.");
        findings.add(Verdict::Ok, "pool", message);
        return Ok(());
    }
    let mut sizes = format!("FRONTDESK_DATABASE_POOL_SIZE is {}", config.pool_size);
    if of_site > 0 {
        sizes += &format!(", FRONTDESK_SITE_POOL_SIZE is {of_site}");
    }
    if of_jobs > 0 {
        sizes += &format!(", the site's jobs use up to {of_jobs} connections");
    }
    if of_hooks > 0 {
        sizes += &format!(", the site's hooks use up to {of_hooks} connections");
    }
    findings.add(Verdict::Warning, "pool", format!("{sizes}, but max_connections of PostgreSQL is {maximum}. Lower the pool size or raise max_connections."));
    Ok(())
}

async fn durability(pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(db::on(pool)).await?;
    let commit: String =
        sqlx::query_scalar("SHOW synchronous_commit").fetch_one(db::on(pool)).await?;
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
            .fetch_optional(db::on(pool))
            .await?;
    match is_encrypted {
        Some(false) => findings.add(Verdict::Problem, "tls", "The connection to PostgreSQL crosses a network unencrypted. Add sslmode=verify-full to DATABASE_URL."),
        Some(true) => findings.add(Verdict::Ok, "tls", "The connection to PostgreSQL is encrypted."),
        None => findings.add(Verdict::Ok, "tls", "Not needed: the database is on this machine."),
    }
    Ok(())
}

/// Whether a failover can lose what was answered. Says nothing without standbys.
async fn replication(pool: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    let (standbys, synchronous): (i64, String) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM pg_stat_replication WHERE application_name <> 'pg_basebackup'),
                current_setting('synchronous_standby_names')",
    )
    .fetch_one(db::on(pool))
    .await?;
    match (standbys, synchronous.is_empty()) {
        (0, true) => {}
        (0, false) => findings.add(
            Verdict::Warning,
            "standbys",
            "synchronous_standby_names is set, but no standby is connected, so commits may wait forever.",
        ),
        (_, false) => findings.add(
            Verdict::Ok,
            "standbys",
            format!("{standbys} connected; commits wait for {synchronous}."),
        ),
        (_, true) => findings.add(
            Verdict::Warning,
            "standbys",
            format!("{standbys} connected, none of them synchronous: a failover can undo sign-outs and changed passwords that were already answered. Set synchronous_standby_names (Patroni: synchronous_mode)."),
        ),
    }
    Ok(())
}
