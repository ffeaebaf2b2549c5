//! Settings that are valid but unsafe or incomplete, and the key file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::findings::{Findings, Verdict};
use crate::cli::out::sentence;
use crate::config::{Config, Hsts, SecretKeys};
use crate::db;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    findings.add(Verdict::Ok, "settings", "All settings are known and valid.");
    cookies(config, findings);
    hsts(config, findings);
    database_tls(config, findings);
    keys(config, findings);
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
    if config.public_url.is_https()
        && let Some(open) = config.bind.iter().find(|address| !address.is_local())
    {
        findings.add(
            Verdict::Warning,
            "address",
            format!("The server listens on {open}, which clients may reach without going through your proxy. Listen on 127.0.0.1 if the proxy runs on this machine."),
        );
    }
}

/// Browsers remember the header for two years, so a wrong scope cannot be corrected quickly.
fn hsts(config: &Config, findings: &mut Findings) {
    if !config.public_url.is_https() {
        return;
    }
    let host = config.public_url.host();
    match config.hsts {
        Hsts::Subdomains => findings.add(
            // Below a domain like example.com there usually are other sites, such as www.example.com.
            if host.split('.').count() <= 2 { Verdict::Warning } else { Verdict::Ok },
            "hsts",
            format!("For two years, browsers that visited the site use only https for {host} and for every host below it (*.{host}), on every port; hosts beside it are not affected. If a host below it has no https, set FRONTDESK_HSTS=host."),
        ),
        Hsts::Host => findings.add(
            Verdict::Ok,
            "hsts",
            format!("For two years, browsers that visited the site use only https for {host}, and not for hosts below it."),
        ),
        Hsts::Off => findings.add(
            Verdict::Warning,
            "hsts",
            "Strict-Transport-Security is not sent, so the first request of a visit can be intercepted over http, unless your proxy sends it.",
        ),
    }
}

/// Says nothing if the settings require verified TLS, or the database is on this machine: `database.rs` then
/// reports the connection itself.
fn database_tls(config: &Config, findings: &mut Findings) {
    for (setting, host) in config.unverified_databases() {
        findings.add(Verdict::Problem, "tls", db::unverified(setting, host));
    }
    if !config.database_tls {
        findings.add(
            Verdict::Ok,
            "tls",
            "FRONTDESK_DATABASE_TLS=off: connections to PostgreSQL over a network may be unencrypted or unverified.",
        );
    }
}

fn keys(config: &Config, findings: &mut Findings) {
    if let Some(keys) = &config.secret_keys {
        let count = keys.as_slice().len();
        let message = format!("{count} key(s) set. The first one encrypts; all of them decrypt.");
        return findings.add(Verdict::Ok, "keys", message);
    }
    let path = SecretKeys::file(&config.data_dir);
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
