//! Exit codes.

use std::process::ExitCode;

use crate::config::MissingFeature;
use crate::db::migrations::SchemaProblem;
use crate::db::site_migrations::SiteSchemaProblem;
use crate::site::installation::WrongProgram;

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
    /// That of a command that failed with `error`: a program or its files that do not belong to the database are
    /// invalid usage, and so is what needs a feature that the program was built without.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        let is_wrong_program = error.is::<WrongProgram>()
            || error.downcast_ref().is_some_and(SchemaProblem::is_wrong_program)
            || error.downcast_ref().is_some_and(SiteSchemaProblem::is_wrong_program);
        if is_wrong_program || error.is::<MissingFeature>() {
            Self::InvalidUsage
        } else {
            Self::Failed
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        ExitCode::from(status as u8)
    }
}
