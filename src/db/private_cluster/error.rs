//! Errors of the private PostgreSQL.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the private PostgreSQL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// PostgreSQL is not installed.
    #[error(
        "PostgreSQL 15 or newer is not installed. Install it:\n  Debian, Ubuntu:  apt-get install postgresql\n  Fedora:          dnf install postgresql-server\n  macOS:           brew install postgresql@17\nor set DATABASE_URL to an existing PostgreSQL."
    )]
    NotInstalled,
    /// There is no data, and the process may not create it.
    #[error(
        "there is no private database in {0} yet. Start the server once to create it, set FRONTDESK_DATA_DIR to the folder that has it, or set DATABASE_URL."
    )]
    NotCreated(PathBuf),
    /// The data was created by a major version that is not installed.
    #[error(
        "the data in {folder} was created by PostgreSQL {version}, but only {installed} is installed. Install PostgreSQL {version}, or migrate the data with pg_upgrade."
    )]
    OtherVersion {
        /// The data folder of PostgreSQL.
        folder: PathBuf,
        /// The major version that created the data.
        version: u32,
        /// The installed major versions.
        installed: String,
    },
    /// Another Frontdesk process holds the lock.
    #[error(
        "another Frontdesk is already running on {0}. Stop it, set FRONTDESK_DATA_DIR to another folder, or set DATABASE_URL so that both share one PostgreSQL."
    )]
    InUse(PathBuf),
    /// A PostgreSQL server is using the data. It does not stop, or it may not belong to Frontdesk and must
    /// not be stopped.
    #[error(
        "a PostgreSQL that this Frontdesk did not start (process {pid}) is running on the data in {folder}. Stop it, then start Frontdesk again."
    )]
    ServerRunning {
        /// The process ID of its postmaster, or of a backend in single-user mode.
        pid: i32,
        /// The data folder of PostgreSQL.
        folder: PathBuf,
    },
    /// The path of the data folder no longer refers to the folder that this process has locked.
    #[error("the data folder {0} was moved or replaced while it was in use. Move it back.")]
    FolderMoved(PathBuf),
    /// Other users could replace the keys.
    #[error("other users can write to the data folder {0}. Run: chmod o-w {0}")]
    WritableByOthers(PathBuf),
    /// The server did not start.
    #[error("the private PostgreSQL did not start. {log}")]
    DidNotStart {
        /// A sentence with the end of the server's log.
        log: String,
    },
    /// The server ended unexpectedly.
    #[error("the private PostgreSQL stopped unexpectedly ({status}). {log}")]
    Ended {
        /// Its exit code, or the signal that ended it.
        status: String,
        /// A sentence with the end of the server's log.
        log: String,
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
    #[error("{program} failed: {output}")]
    ProgramFailed {
        /// The program.
        program: &'static str,
        /// Its standard error.
        output: String,
    },
    /// This process runs as root, and there is no unprivileged user to run PostgreSQL.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither the user postgres nor the user nobody. Run Frontdesk as an unprivileged user."
    )]
    NoUnprivilegedUser,
    /// A file or folder cannot be used.
    #[error("{problem} ({path})")]
    Io {
        /// The step that failed.
        problem: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

pub(super) fn io_error(problem: &'static str, path: &Path, source: io::Error) -> ClusterError {
    ClusterError::Io { problem, path: path.to_owned(), source }
}
