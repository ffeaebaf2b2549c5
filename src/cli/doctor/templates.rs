//! Templates that replace Frontdesk's.

use rustix::fs::{Access, access};

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
    writable_folder(config, findings);
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

/// An attacker who can write files as the service user could change the pages at the next start.
fn writable_folder(config: &Config, findings: &mut Findings) {
    let Some(folder) = config.templates_dir.as_ref().filter(|_| config.public_url.is_https())
    else {
        return;
    };
    if access(folder, Access::WRITE_OK).is_ok() {
        let message = format!(
            "{} is writable for the user that runs Frontdesk. Give it to another user, readable for this one.",
            folder.display()
        );
        findings.add(Verdict::Warning, "templates", message);
    }
}
