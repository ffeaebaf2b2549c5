//! Exit codes.

use std::process::ExitCode;

use crate::db::migrations::SchemaProblem;
use crate::db::site_migrations::SiteSchemaProblem;

/// The exit codes, as documented in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExitStatus {
    Done = 0,
    Failed = 1,
    InvalidUsage = 2,
    NothingFound = 3,
    Problems = 4,
}

impl ExitStatus {
    /// The code for a command that failed with `error`. The files of a site that do not match its database are like
    /// invalid configuration.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        let problem = match error.downcast_ref::<SchemaProblem>() {
            Some(SchemaProblem::Site(problem)) => Some(problem),
            _ => error.downcast_ref::<SiteSchemaProblem>(),
        };
        match problem {
            None | Some(SiteSchemaProblem::Pending(_)) => Self::Failed,
            Some(_) => Self::InvalidUsage,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        ExitCode::from(status as u8)
    }
}
