//! The colors of the site: whether they can be read, and whether text and controls stand out from what is behind.

use super::findings::{Findings, Verdict};
use crate::config::Config;
use crate::look::{Scheme, Tokens, contrast};
use crate::site::Site;

pub(super) fn check(config: &Config, site: &Site, findings: &mut Findings) {
    let tokens = Tokens::read(&site.style_sheets(config));
    for warning in &tokens.warnings {
        findings.add(Verdict::Warning, "colors", warning);
    }
    let schemes = Scheme::of(config.color_scheme);
    let problems = contrast::problems(&tokens, schemes);
    if problems.is_empty() {
        let schemes: Vec<&str> = schemes.iter().map(|scheme| scheme.name()).collect();
        let message = format!(
            "Text has a contrast of 4.5:1 or more, controls and focus 3:1 or more ({}).",
            schemes.join(" and ")
        );
        findings.add(Verdict::Ok, "contrast", message);
    }
    for problem in problems {
        findings.add(Verdict::Problem, "contrast", problem);
    }
}
