//! The exit code of a command.

use std::process::ExitCode;

/// The exit codes that the help documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExitStatus {
    Done = 0,
    Failed = 1,
    WrongUse = 2,
    NothingFound = 3,
    Problems = 4,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        ExitCode::from(status as u8)
    }
}
