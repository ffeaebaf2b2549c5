//! Stops a server that an earlier Frontdesk process left running on the data.
//!
//! PostgreSQL writes its process ID to `postmaster.pid` and to the lock file of its socket. Such a file may
//! be stale, and its process ID may have been reused by another process. Or the file was copied with the data
//! folder and refers to the server of the original. Therefore:
//!
//! - A process is treated as a server on this data only if its name is `postgres` and its working directory
//!   is the data folder, which holds for every postmaster.
//! - It is signaled only if the lock file names this data folder too.
//! - Signals are sent through a pidfd that is opened before these checks, so that they reach the checked
//!   process or none.
//! - Where the working directory cannot be read (macOS), nothing is signaled.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::data_folder::{DataFolder, has_working_directory, is_same_folder};
use super::error::{ClusterError, io_error};
use super::wrapper::{POLL_INTERVAL, STOP_DEADLINE};

/// A server that runs on the data.
struct LeftoverServer {
    pid: Pid,
    /// `None`: the server must not be signaled.
    handle: Option<ProcessHandle>,
}

/// What is known about the process that a lock file names.
#[derive(Debug, Clone, Copy)]
struct ProcessInfo {
    is_alive: bool,
    /// Whether the program is PostgreSQL; `None` if the system does not report it.
    is_postgres: Option<bool>,
    /// Whether its working directory is the data folder; `None` if the system does not report it.
    is_working_directory: Option<bool>,
    /// Whether the lock file names this data folder. It does not after the folder was copied or moved.
    names_folder: bool,
    /// Whether the process accepts connections on the socket of this data folder.
    listens_on_socket: bool,
}

/// The conclusion from [`ProcessInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockFileStatus {
    /// No server was found, or the system reports too little. PostgreSQL checks the file itself when it
    /// starts.
    NotFound,
    /// The file names a process that is not a server on this data. PostgreSQL would refuse to start.
    Stale,
    /// A server runs on this data.
    Running { may_be_stopped: bool },
}

impl ProcessInfo {
    fn status(self) -> LockFileStatus {
        if !self.is_alive {
            return LockFileStatus::NotFound;
        }
        if self.is_working_directory == Some(false) || self.is_postgres == Some(false) {
            return LockFileStatus::Stale;
        }
        if self.is_working_directory == Some(true) {
            return LockFileStatus::Running { may_be_stopped: self.names_folder };
        }
        match (self.listens_on_socket, self.names_folder) {
            (true, _) => LockFileStatus::Running { may_be_stopped: false },
            (false, false) => LockFileStatus::Stale,
            (false, true) => LockFileStatus::NotFound,
        }
    }
}

impl DataFolder {
    /// Stops a server that runs on the data, and removes lock files that name unrelated processes. The caller
    /// must hold the lock of the data folder; without it, the server may be in use. Waits up to 30 seconds
    /// for the server.
    pub(super) async fn stop_leftover_server(&self) -> Result<(), ClusterError> {
        let started_at = Instant::now();
        let mut signals =
            [(Duration::ZERO, Signal::INT), (STOP_DEADLINE, Signal::QUIT)].into_iter().peekable();
        while let Some(server) = self.find_leftover_server().await? {
            let waited = started_at.elapsed();
            let pid = server.pid.as_raw_nonzero().get();
            if waited > 3 * STOP_DEADLINE {
                return Err(ClusterError::ServerRunning { pid, folder: self.data() });
            }
            if let Some(handle) = &server.handle
                && let Some((_, signal)) = signals.next_if(|(after, _)| *after <= waited)
            {
                tracing::warn!(
                    pid,
                    ?signal,
                    "stopping a PostgreSQL that an earlier process left running"
                );
                handle.signal(signal);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    async fn find_leftover_server(&self) -> Result<Option<LeftoverServer>, ClusterError> {
        for path in [self.pid_file(), self.socket_lock_file()] {
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io_error("a lock file cannot be read", &path, error)),
            };
            let lock_file = LockFile::parse(&text);
            let (status, server) = match &lock_file {
                // After a crash of the machine the file may be empty. PostgreSQL does not replace an empty
                // file.
                None => (LockFileStatus::Stale, None),
                Some(lock_file) => {
                    // Opened before the check, so that a signal reaches the process that was checked.
                    let handle = ProcessHandle::open(lock_file.pid);
                    let status = self.process_info(lock_file).await.status();
                    let may_be_stopped = status == LockFileStatus::Running { may_be_stopped: true };
                    let handle = handle.filter(|_| may_be_stopped && lock_file.is_postmaster);
                    (status, Some(LeftoverServer { pid: lock_file.pid, handle }))
                }
            };
            match status {
                LockFileStatus::NotFound => {}
                LockFileStatus::Running { .. } => return Ok(server),
                LockFileStatus::Stale => {
                    let pid = server.map(|server| server.pid.as_raw_nonzero().get());
                    tracing::info!(?pid, file = %path.display(), "removing a stale lock file");
                    match fs::remove_file(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(io_error(
                                "a stale lock file cannot be removed",
                                &path,
                                error,
                            ));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(None)
    }

    async fn process_info(&self, lock_file: &LockFile) -> ProcessInfo {
        // EPERM means that the process is running and belongs to another user.
        let is_alive =
            rustix::process::test_kill_process(lock_file.pid) != Err(rustix::io::Errno::SRCH);
        ProcessInfo {
            is_alive,
            is_postgres: is_postgres(lock_file.pid),
            is_working_directory: has_working_directory(lock_file.pid, &self.data(), self.owner),
            names_folder: is_same_folder(&lock_file.data, &self.data()),
            listens_on_socket: is_alive && self.listener().await == Some(Some(lock_file.pid)),
        }
    }
}

/// The first two lines of a lock file.
struct LockFile {
    pid: Pid,
    /// `false` for a backend in single-user mode, whose process ID is written as a negative number. An
    /// operator runs it.
    is_postmaster: bool,
    data: PathBuf,
}

impl LockFile {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let number: i32 = lines.next()?.trim().parse().ok()?;
        Some(Self {
            pid: Pid::from_raw(number.checked_abs()?)?,
            is_postmaster: number > 0,
            data: PathBuf::from(lines.next().unwrap_or_default()),
        })
    }
}

fn is_postgres(pid: Pid) -> Option<bool> {
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).ok()?;
    Some(matches!(name.trim(), "postgres" | "postmaster"))
}

/// A pidfd: it refers to the same process even if its process ID is reused.
#[cfg(target_os = "linux")]
struct ProcessHandle(std::os::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl ProcessHandle {
    fn open(pid: Pid) -> Option<Self> {
        use rustix::process::{PidfdFlags, pidfd_open};
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Self)
    }

    fn signal(&self, signal: Signal) {
        // Fails only if the process has ended.
        rustix::process::pidfd_send_signal(&self.0, signal).ok();
    }
}

/// Other systems have no pidfd, and nothing is signaled.
#[cfg(not(target_os = "linux"))]
enum ProcessHandle {}

#[cfg(not(target_os = "linux"))]
impl ProcessHandle {
    fn open(_: Pid) -> Option<Self> {
        None
    }

    fn signal(&self, _: Signal) {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn only_a_postgresql_in_the_data_folder_that_its_lock_file_names_may_be_stopped() {
        let (yes, no, unknown) = (Some(true), Some(false), None);
        let leftover = ProcessInfo {
            is_alive: true,
            is_postgres: yes,
            is_working_directory: yes,
            names_folder: true,
            listens_on_socket: false,
        };
        let stopped = LockFileStatus::Running { may_be_stopped: true };
        let waited_for = LockFileStatus::Running { may_be_stopped: false };
        for (process_info, status) in [
            (leftover, stopped),
            (ProcessInfo { is_alive: false, ..leftover }, LockFileStatus::NotFound),
            // The folder was moved while its server ran.
            (ProcessInfo { names_folder: false, ..leftover }, waited_for),
            // The folder was copied, or the process ID was reused by another server.
            (
                ProcessInfo { is_working_directory: no, names_folder: false, ..leftover },
                LockFileStatus::Stale,
            ),
            (ProcessInfo { is_working_directory: no, ..leftover }, LockFileStatus::Stale),
            // The process ID was reused by another program whose working directory is the data folder.
            (ProcessInfo { is_postgres: no, ..leftover }, LockFileStatus::Stale),
        ] {
            assert_eq!(process_info.status(), status, "{process_info:?}");
        }
        // The system reports nothing about other processes.
        let unreported =
            ProcessInfo { is_postgres: unknown, is_working_directory: unknown, ..leftover };
        for (listens_on_socket, names_folder, status) in [
            (true, true, waited_for),
            (true, false, waited_for),
            (false, false, LockFileStatus::Stale),
            (false, true, LockFileStatus::NotFound),
        ] {
            let process_info = ProcessInfo { listens_on_socket, names_folder, ..unreported };
            assert_eq!(process_info.status(), status, "{process_info:?}");
        }
    }

    #[test]
    fn lock_files_name_a_process_and_a_folder_or_are_refused() {
        let lock_file = LockFile::parse("4242\n/srv/desk/database/postgres\n1764201600\n").unwrap();
        assert_eq!((lock_file.pid.as_raw_nonzero().get(), lock_file.is_postmaster), (4242, true));
        assert_eq!(lock_file.data, Path::new("/srv/desk/database/postgres"));
        assert!(!LockFile::parse("-4242\n/srv\n").unwrap().is_postmaster);
        for text in ["", "\n", "0\n/srv\n", "postgres\n/srv\n", "-2147483648\n/srv\n"] {
            assert!(LockFile::parse(text).is_none(), "{text:?}");
        }
    }
}
