//! The running servers, and whether these settings fit them.

use sqlx::PgPool;

use super::findings::{Findings, Verdict};
use crate::config::{Config, SecretKeys};
use crate::crypto::seal::Sealer;
use crate::db;
use crate::mail::outbox;
use crate::peers::{self, RunningServer, ServerSettings};

/// Compares the running servers with each other and with the settings of this command: a server that is
/// started now would have these settings.
pub(super) async fn check(
    config: &Config,
    pool: &PgPool,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    // Before the first migration, another check reports what is pending.
    let exists = "SELECT to_regclass('servers') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(exists).fetch_one(db::on(pool)).await? {
        return Ok(());
    }
    let running = peers::list(pool).await?;
    let mut settings: Vec<ServerSettings> = running.iter().map(RunningServer::settings).collect();
    settings.extend(own_settings(config));
    let differences = peers::differences(&settings);
    if differences.is_empty() {
        findings.add(Verdict::Ok, "servers", describe(&running));
    }
    for difference in differences {
        findings.add(Verdict::Warning, "servers", difference.message);
    }
    let keys: Vec<String> = settings.into_iter().flat_map(|one| one.key_ids).collect();
    for (key, count) in outbox::count_unreadable(pool, &keys).await? {
        findings.add(
            Verdict::Warning,
            "servers",
            format!("{count} mail(s) wait for a server with the key {key}, which no running server has. Add that key at the end of FRONTDESK_SECRET_KEYS; mail that waits for it for two days fails."),
        );
    }
    Ok(())
}

/// `None` if there are no keys yet, or they cannot be read, which another check reports.
fn own_settings(config: &Config) -> Option<ServerSettings> {
    let stored = || {
        let exists = SecretKeys::file(&config.data_dir).exists();
        exists.then(|| SecretKeys::load_or_create(&config.data_dir).ok()).flatten()
    };
    let keys = config.secret_keys.clone().or_else(stored)?;
    Some(ServerSettings {
        name: "the settings of this command".to_owned(),
        public_url: config.public_url.origin().to_string(),
        key_ids: Sealer::new(keys.as_slice()).key_ids().to_vec(),
        mail: Some(config.mail.transport.name().to_owned()),
    })
}

fn describe(running: &[RunningServer]) -> String {
    if running.is_empty() {
        return "No server is running.".to_owned();
    }
    let servers: Vec<String> = running
        .iter()
        .map(|server| {
            let RunningServer { host, process_id, version, session_cache, .. } = server;
            format!("{host} (process {process_id}, version {version}, cache {session_cache})")
        })
        .collect();
    format!("Running with the same keys, public URL and kind of mail: {}.", servers.join(", "))
}
