//! Templates that replace Frontdesk's.

use super::findings::{Findings, Verdict};
use crate::cli::template;
use crate::config::Config;
use crate::program;
use crate::site::Site;

pub(super) fn check(config: &Config, site: &Site, findings: &mut Findings) -> anyhow::Result<()> {
    let problems = template::problems(config, site)?;
    if problems.is_empty() {
        findings.add(Verdict::Ok, "templates", "Every page and mail can be rendered.");
    }
    for problem in problems {
        findings.add(Verdict::Problem, "templates", problem);
    }
    match template::outdated(config, site) {
        Ok(outdated) => {
            for (name, ..) in outdated {
                let message = format!(
                    "Frontdesk's {name} has changed since it was copied. Run: {} template diff {name}",
                    program::name()
                );
                findings.add(Verdict::Warning, "templates", message);
            }
        }
        Err(problems) => {
            for problem in problems {
                findings.add(Verdict::Warning, "templates", problem);
            }
        }
    }
    Ok(())
}
