//! The results of the checks.

use serde::Serialize;

use crate::cli::out;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Warning,
    Problem,
}

#[derive(Debug, Serialize)]
pub(super) struct Finding {
    verdict: Verdict,
    #[serde(rename = "what")]
    check: &'static str,
    #[serde(rename = "said")]
    message: String,
}

#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn add(
        &mut self,
        verdict: Verdict,
        check: &'static str,
        message: impl Into<String>,
    ) {
        self.0.push(Finding { verdict, check, message: message.into() });
    }

    pub(super) fn has(&self, verdict: Verdict) -> bool {
        self.0.iter().any(|finding| finding.verdict == verdict)
    }

    pub(super) fn print(&self) {
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
