//! The server of a process that owns the data: its start and its end.

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::binaries::Binaries;
use super::error::{ClusterError, files};
use super::keeper::{Keeper, POLL};
use super::place::{PORT, Place};

/// Recovery after a crash of the machine may take a while; a person is told after a second.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// The server's own log is truncated at a start beyond this, in bytes.
const LONGEST_LOG: u64 = 8 * 1024 * 1024;

/// The lock of a place, and the server that runs on it.
pub(super) struct Running {
    lock: File,
    binaries: Binaries,
    settings: Vec<(String, String)>,
    /// `None` between the end of a server and its restart.
    server: Mutex<Option<Server>>,
}

pub(super) struct Server {
    keeper: Keeper,
    /// Where its part of the log begins.
    pub(super) log_start: u64,
}

impl Running {
    pub(super) fn new(lock: File, binaries: Binaries, settings: &[(&str, &str)]) -> Self {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let settings = settings.iter().map(owned).collect();
        Self { lock, binaries, settings, server: Mutex::new(None) }
    }

    /// Starts the server and waits until it accepts connections.
    pub(super) async fn start(&self, place: &Place) -> Result<(), ClusterError> {
        let log_start = {
            let server = self.spawn(place)?;
            let log_start = server.log_start;
            *self.server() = Some(server);
            log_start
        };
        let began = Instant::now();
        while !place.is_ready().await {
            if self.has_ended(place)?.is_some() || began.elapsed() > START_DEADLINE {
                // Stops it if it is alive.
                self.server().take();
                return Err(ClusterError::DidNotStart { words: place.last_words(log_start) });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Stops the server and waits for it.
    pub(super) async fn stop(self, place: &Place) -> Result<(), ClusterError> {
        let failed = |error| files("waiting for PostgreSQL failed", &place.data(), error);
        let server = self.server().take();
        if let Some(server) = server
            && server.keeper.stop().await.map_err(failed)?
        {
            return Ok(());
        }
        self.end_former(place).await
    }

    /// A shell that was killed leaves its server running.
    pub(super) async fn end_former(&self, place: &Place) -> Result<(), ClusterError> {
        // Another Frontdesk may serve from what is at that path by now.
        if !place.is_locked_by(&self.lock) {
            return Err(ClusterError::Moved(place.folder.clone()));
        }
        place.end_former().await
    }

    pub(super) fn has_ended(&self, place: &Place) -> Result<Option<ExitStatus>, ClusterError> {
        let mut server = self.server();
        let ended = server.as_mut().map(|server| server.keeper.ended()).transpose();
        ended
            .map(Option::flatten)
            .map_err(|error| files("waiting for PostgreSQL failed", &place.data(), error))
    }

    pub(super) fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, place: &Place) -> Result<Server, ClusterError> {
        let (log, log_start) = open_log(&place.log())?;
        let program = self.binaries.program("postgres");
        let socket = format!("unix_socket_directories=\"{}\"", place.socket_dir().display());
        let fixed = [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "max_connections=60",
            "shared_buffers=64MB",
            "logging_collector=off",
            "log_destination=stderr",
            "log_min_messages=warning",
            // What users typed must not reach the log: no statements, values or details.
            "log_statement=none",
            "log_min_error_statement=panic",
            "log_parameter_max_length_on_error=0",
            "log_error_verbosity=terse",
        ];
        let mut arguments = vec!["-D".to_owned(), place.data().display().to_string()];
        arguments.extend(["-p", PORT, "-c", &socket].map(str::to_owned));
        for setting in fixed {
            arguments.extend(["-c".to_owned(), setting.to_owned()]);
        }
        for (name, value) in &self.settings {
            arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        let keeper = Keeper::start(place.owner, &program, &arguments, log)
            .map_err(|error| files("PostgreSQL cannot be started", &program, error))?;
        Ok(Server { keeper, log_start })
    }
}

/// The log, opened for appending, and its length.
fn open_log(path: &Path) -> Result<(File, u64), ClusterError> {
    let length = fs::metadata(path).map(|log| log.len()).unwrap_or_default();
    let is_long = length > LONGEST_LOG;
    let log = fs::OpenOptions::new()
        .create(true)
        .append(!is_long)
        .write(true)
        .truncate(is_long)
        .open(path)
        .map_err(|error| files("the log of PostgreSQL cannot be written", path, error))?;
    Ok((log, if is_long { 0 } else { length }))
}
