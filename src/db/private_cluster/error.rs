//! Why there is no private PostgreSQL.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no private PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Not installed.
    #[error(
        "PostgreSQL 15 or newer is not installed. Install it:\n  Debian, Ubuntu:  apt-get install postgresql\n  Fedora:          dnf install postgresql-server\n  macOS:           brew install postgresql@17\nor set DATABASE_URL to a PostgreSQL that runs elsewhere."
    )]
    NotInstalled,
    /// Made by another major version.
    #[error(
        "the data in {folder} was made by PostgreSQL {made}, and only {found} is installed. Install PostgreSQL {made}, or move the data with pg_upgrade."
    )]
    OtherVersion {
        /// Where.
        folder: PathBuf,
        /// By which.
        made: u32,
        /// What there is.
        found: String,
    },
    /// Another Frontdesk has it.
    #[error(
        "another Frontdesk is already running on {0}. Stop it, set FRONTDESK_DATA_DIR to another folder, or set DATABASE_URL so that both share one PostgreSQL."
    )]
    InUse(PathBuf),
    /// A PostgreSQL runs on the data, and it does not stop or is not ours to stop.
    #[error(
        "a PostgreSQL that this Frontdesk did not start (process {pid}) is running on the data in {folder}. Stop it, then start Frontdesk again."
    )]
    Occupied {
        /// The process ID of its postmaster, or of a backend in single-user mode.
        pid: i32,
        /// The data folder of PostgreSQL.
        folder: PathBuf,
    },
    /// The path of the data folder no longer leads to the folder that this process has locked.
    #[error("the data folder {0} was moved or replaced while it was in use. Move it back.")]
    Moved(PathBuf),
    /// The server did not start. `words` tells what it wrote to its log.
    #[error("the private PostgreSQL did not start. {words}")]
    DidNotStart {
        /// A sentence: the log and the end of it.
        words: String,
    },
    /// The server ended unexpectedly.
    #[error("the private PostgreSQL ended ({how}). {words}")]
    Ended {
        /// Its exit code, or the signal that ended it.
        how: String,
        /// A sentence: the log and the end of it.
        words: String,
    },
    /// The server ended and could not be restarted.
    #[error("the private PostgreSQL could not be restarted for {} minutes", tried_for.as_secs() / 60)]
    RestartsFailed {
        /// From the first failure to the last.
        tried_for: Duration,
        /// The last failure.
        #[source]
        cause: Box<ClusterError>,
    },
    /// A program of PostgreSQL failed.
    #[error("{program} failed: {words}")]
    Program {
        /// Which.
        program: &'static str,
        /// What it said.
        words: String,
    },
    /// No unprivileged user.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody. Run Frontdesk as an ordinary user."
    )]
    NoUser,
    /// Files and folders.
    #[error("{what} ({path})")]
    Files {
        /// What was tried.
        what: &'static str,
        /// With which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

pub(super) fn files(what: &'static str, path: &Path, source: io::Error) -> ClusterError {
    ClusterError::Files { what, path: path.to_owned(), source }
}
