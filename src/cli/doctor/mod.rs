//! `frontdesk doctor`: checks settings, database and mail, and explains how to fix each problem.

mod database;
mod findings;
mod folders;
mod look;
mod mail;
mod notifications;
mod queues;
mod servers;
mod settings;
mod templates;

use super::exit::ExitStatus;
use super::out;
use crate::config::Config;
use crate::site::Site;
use findings::{Findings, Verdict};

pub(super) async fn run(config: &Config, site: &Site, json: bool) -> anyhow::Result<ExitStatus> {
    let mut findings = Findings::default();
    settings::check(config, &mut findings);
    look::check(config, site, &mut findings);
    templates::check(config, site, &mut findings)?;
    folders::check(config, &mut findings);
    mail::check(config, &mut findings).await;
    database::check(config, site, &mut findings).await?;
    let is_healthy = !findings.has(Verdict::Problem);
    if json {
        out::json(&serde_json::json!({ "healthy": is_healthy, "findings": findings.0 }))?;
    } else {
        findings.print();
    }
    Ok(if is_healthy { ExitStatus::Done } else { ExitStatus::Problems })
}
