//! The server that a former Frontdesk may have left on the data, and the rule by which it is recognized.
//!
//! PostgreSQL leaves the number of its process in `postmaster.pid` and in the lock file of its socket. Such a file
//! may be stale, and its number may belong to any process by now; or it may have been copied with the folder, and
//! name the server of the original. Therefore a process counts as a server on this data only if it is called
//! `postgres` and its working directory is the data folder (a postmaster's always is), and it is signaled only if
//! the file names this data folder too. Signals go through a pidfd that was opened before the check, so that they
//! reach the process that was checked or none. Where the working directory cannot be seen (macOS), nothing is
//! signaled.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::error::{ClusterError, files};
use super::keeper::{POLL, STOP_DEADLINE};
use super::place::{Place, is_same_folder, works_in};

/// A server on the data of a place.
struct Server {
    pid: Pid,
    /// For signals; `None` when it must not get any.
    handle: Option<Handle>,
}

/// What is known about the process that a lock file names.
#[derive(Debug, Clone, Copy)]
struct Evidence {
    is_alive: bool,
    /// Whether its program is PostgreSQL; `None` where the system does not tell.
    is_postgres: Option<bool>,
    /// Whether its working directory is the data folder; `None` where the system does not tell.
    works_here: Option<bool>,
    /// Whether the file names the data folder. Not after the folder was copied or moved.
    is_named: bool,
    /// Whether it accepts connections on the socket of the place.
    listens_here: bool,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// No server, or the system does not tell: PostgreSQL judges the file itself when it starts.
    Nothing,
    /// The file names a process that has nothing to do with this data. PostgreSQL would refuse to start.
    Stale,
    /// A server runs on this data.
    Running { may_be_stopped: bool },
}

impl Evidence {
    fn verdict(self) -> Verdict {
        if !self.is_alive {
            return Verdict::Nothing;
        }
        if self.works_here == Some(false) || self.is_postgres == Some(false) {
            return Verdict::Stale;
        }
        if self.works_here == Some(true) {
            return Verdict::Running { may_be_stopped: self.is_named };
        }
        match (self.listens_here, self.is_named) {
            (true, _) => Verdict::Running { may_be_stopped: false },
            (false, false) => Verdict::Stale,
            (false, true) => Verdict::Nothing,
        }
    }
}

impl Place {
    /// Stops the server that a former Frontdesk has left on the data, and removes lock files that name processes
    /// which have nothing to do with it. Needs the lock of the place: otherwise the server is in use. Waits for
    /// servers on this data only, for half a minute at most.
    pub(super) async fn end_former(&self) -> Result<(), ClusterError> {
        let began = Instant::now();
        let mut signals =
            [(Duration::ZERO, Signal::INT), (STOP_DEADLINE, Signal::QUIT)].into_iter().peekable();
        while let Some(server) = self.find_former().await? {
            let waited = began.elapsed();
            let pid = server.pid.as_raw_nonzero().get();
            if waited > 3 * STOP_DEADLINE {
                return Err(ClusterError::Occupied { pid, folder: self.data() });
            }
            if let Some(handle) = &server.handle
                && let Some((_, signal)) = signals.next_if(|(after, _)| *after <= waited)
            {
                tracing::warn!(
                    pid,
                    ?signal,
                    "stopping the PostgreSQL that a previous run left running"
                );
                handle.signal(signal);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn find_former(&self) -> Result<Option<Server>, ClusterError> {
        for path in [self.pid_file(), self.socket_lock_file()] {
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(files("a lock file cannot be read", &path, error)),
            };
            let named = Named::parse(&text);
            let (verdict, server) = match &named {
                // A crash of the machine leaves an empty file, which PostgreSQL does not replace.
                None => (Verdict::Stale, None),
                Some(named) => {
                    // Before the check: see the top of this file.
                    let handle = Handle::open(named.pid);
                    let verdict = self.evidence(named).await.verdict();
                    let may = verdict == Verdict::Running { may_be_stopped: true };
                    let handle = handle.filter(|_| may && named.is_postmaster);
                    (verdict, Some(Server { pid: named.pid, handle }))
                }
            };
            match verdict {
                Verdict::Nothing => {}
                Verdict::Running { .. } => return Ok(server),
                Verdict::Stale => {
                    let pid = server.map(|server| server.pid.as_raw_nonzero().get());
                    tracing::info!(?pid, file = %path.display(), "removing a stale lock file");
                    match fs::remove_file(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(files("a stale lock file cannot be removed", &path, error));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(None)
    }

    async fn evidence(&self, named: &Named) -> Evidence {
        // EPERM: alive, as another user.
        let is_alive =
            rustix::process::test_kill_process(named.pid) != Err(rustix::io::Errno::SRCH);
        Evidence {
            is_alive,
            is_postgres: is_postgres(named.pid),
            works_here: works_in(named.pid, &self.data(), self.owner),
            is_named: is_same_folder(&named.data, &self.data()),
            listens_here: is_alive && self.listener().await == Some(Some(named.pid)),
        }
    }
}

/// What the first two lines of a lock file name.
struct Named {
    pid: Pid,
    /// A backend in single-user mode has a minus before its number. It belongs to an operator.
    is_postmaster: bool,
    data: PathBuf,
}

impl Named {
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

/// A process, and not merely its number.
#[cfg(target_os = "linux")]
struct Handle(std::os::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl Handle {
    fn open(pid: Pid) -> Option<Self> {
        use rustix::process::{PidfdFlags, pidfd_open};
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Self)
    }

    fn signal(&self, signal: Signal) {
        // Fails only when it has ended.
        rustix::process::pidfd_send_signal(&self.0, signal).ok();
    }
}

/// Elsewhere there is none, and nothing is signaled.
#[cfg(not(target_os = "linux"))]
enum Handle {}

#[cfg(not(target_os = "linux"))]
impl Handle {
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
    fn only_a_postgresql_that_works_in_the_data_folder_the_file_names_may_be_stopped() {
        let (yes, no, unknown) = (Some(true), Some(false), None);
        let left_over = Evidence {
            is_alive: true,
            is_postgres: yes,
            works_here: yes,
            is_named: true,
            listens_here: false,
        };
        let stopped = Verdict::Running { may_be_stopped: true };
        let waited_for = Verdict::Running { may_be_stopped: false };
        for (evidence, verdict) in [
            (left_over, stopped),
            (Evidence { is_alive: false, ..left_over }, Verdict::Nothing),
            // The folder was moved while its server ran.
            (Evidence { is_named: false, ..left_over }, waited_for),
            // The folder was copied, or the number was given to another server.
            (Evidence { works_here: no, is_named: false, ..left_over }, Verdict::Stale),
            (Evidence { works_here: no, ..left_over }, Verdict::Stale),
            // The number was given to another program, which happens to work here.
            (Evidence { is_postgres: no, ..left_over }, Verdict::Stale),
        ] {
            assert_eq!(evidence.verdict(), verdict, "{evidence:?}");
        }
        // Where the system tells nothing about other processes.
        let unseen = Evidence { is_postgres: unknown, works_here: unknown, ..left_over };
        for (listens_here, is_named, verdict) in [
            (true, true, waited_for),
            (true, false, waited_for),
            (false, false, Verdict::Stale),
            (false, true, Verdict::Nothing),
        ] {
            let evidence = Evidence { listens_here, is_named, ..unseen };
            assert_eq!(evidence.verdict(), verdict, "{evidence:?}");
        }
    }

    #[test]
    fn lock_files_name_a_process_and_a_folder_or_nothing() {
        let named = Named::parse("4242\n/srv/desk/database/postgres\n1764201600\n").unwrap();
        assert_eq!((named.pid.as_raw_nonzero().get(), named.is_postmaster), (4242, true));
        assert_eq!(named.data, Path::new("/srv/desk/database/postgres"));
        assert!(!Named::parse("-4242\n/srv\n").unwrap().is_postmaster);
        for text in ["", "\n", "0\n/srv\n", "postgres\n/srv\n", "-2147483648\n/srv\n"] {
            assert!(Named::parse(text).is_none(), "{text:?}");
        }
    }
}
