//! `frontdesk doctor`: checks settings, database and mail, and explains how to fix each problem.

mod database;
mod mail;
mod notifications;
mod servers;
mod settings;

use serde::Serialize;

use super::exit::ExitStatus;
use super::out;
use crate::config::Config;

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
    settings::check(config, &mut findings);
    mail::check(config, &mut findings).await;
    database::check(config, &mut findings).await?;
    let is_healthy = !findings.has(Verdict::Problem);
    if json {
        out::json(&serde_json::json!({ "healthy": is_healthy, "findings": findings.0 }))?;
    } else {
        findings.print();
    }
    Ok(if is_healthy { ExitStatus::Done } else { ExitStatus::Problems })
}
