//! Starts and stops the server of a process that holds the lock of the data folder.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::binaries::Binaries;
use super::data_folder::{DataFolder, PORT};
use super::error::{ClusterError, io_error};
use super::wrapper::{POLL_INTERVAL, ServerProcess};

/// Long enough for crash recovery.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// A log longer than this, in bytes, is truncated when the server starts.
const MAX_LOG_SIZE: u64 = 8 * 1024 * 1024;

/// The lock of the data folder, and the server that runs on it.
pub(super) struct OwnedServer {
    lock: File,
    binaries: Binaries,
    settings: Vec<(String, String)>,
    /// `None` between the end of a server and its restart.
    running: Mutex<Option<RunningServer>>,
}

pub(super) struct RunningServer {
    process: ServerProcess,
    /// The offset in bytes at which its part of the log starts.
    pub(super) log_start: u64,
}

impl OwnedServer {
    pub(super) fn new(lock: File, binaries: Binaries, settings: &[(&str, &str)]) -> Self {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let settings = settings.iter().map(owned).collect();
        Self { lock, binaries, settings, running: Mutex::new(None) }
    }

    /// Starts the server and waits until it accepts connections.
    pub(super) async fn start(&self, folder: &DataFolder) -> Result<(), ClusterError> {
        let log_start = {
            let server = self.spawn(folder)?;
            let log_start = server.log_start;
            *self.running_server() = Some(server);
            log_start
        };
        let started_at = Instant::now();
        while !folder.is_ready().await {
            if self.exit_status(folder)?.is_some() || started_at.elapsed() > START_DEADLINE {
                // Dropping the server stops it if it still runs.
                self.running_server().take();
                return Err(ClusterError::DidNotStart { log: folder.log_excerpt(log_start) });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Stops the server and waits for it.
    pub(super) async fn stop(self, folder: &DataFolder) -> Result<(), ClusterError> {
        let failed = |error| io_error("waiting for PostgreSQL failed", &folder.data(), error);
        let server = self.running_server().take();
        if let Some(server) = server
            && server.process.stop().await.map_err(failed)?
        {
            return Ok(());
        }
        self.stop_leftover_server(folder).await
    }

    /// Stops the server of a shell that was killed.
    pub(super) async fn stop_leftover_server(
        &self,
        folder: &DataFolder,
    ) -> Result<(), ClusterError> {
        // If the folder was replaced, another Frontdesk may use the new one.
        if !folder.is_locked_by(&self.lock) {
            return Err(ClusterError::FolderMoved(folder.path.clone()));
        }
        folder.stop_leftover_server().await
    }

    pub(super) fn exit_status(
        &self,
        folder: &DataFolder,
    ) -> Result<Option<ExitStatus>, ClusterError> {
        let mut server = self.running_server();
        let status = server.as_mut().map(|server| server.process.exit_status()).transpose();
        status
            .map(Option::flatten)
            .map_err(|error| io_error("waiting for PostgreSQL failed", &folder.data(), error))
    }

    pub(super) fn running_server(&self) -> MutexGuard<'_, Option<RunningServer>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, folder: &DataFolder) -> Result<RunningServer, ClusterError> {
        let (log, log_start) = open_log(&folder.log())?;
        let program = self.binaries.program("postgres");
        let socket = format!("unix_socket_directories=\"{}\"", folder.socket_dir().display());
        let fixed = [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "max_connections=60",
            "shared_buffers=64MB",
            "logging_collector=off",
            "log_destination=stderr",
            "log_min_messages=warning",
            // User input must not reach the log: no statements, values or details.
            "log_statement=none",
            "log_min_error_statement=panic",
            "log_parameter_max_length_on_error=0",
            "log_error_verbosity=terse",
        ];
        let mut arguments = vec!["-D".to_owned(), folder.data().display().to_string()];
        arguments.extend(["-p", PORT, "-c", &socket].map(str::to_owned));
        for setting in fixed {
            arguments.extend(["-c".to_owned(), setting.to_owned()]);
        }
        for (name, value) in &self.settings {
            arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        let process = ServerProcess::start(folder.owner, &program, &arguments, log)
            .map_err(|error| io_error("PostgreSQL cannot be started", &program, error))?;
        Ok(RunningServer { process, log_start })
    }
}

/// Opens the log for appending. Returns its length too.
fn open_log(path: &Path) -> Result<(File, u64), ClusterError> {
    let length = fs::metadata(path).map(|log| log.len()).unwrap_or_default();
    let is_long = length > MAX_LOG_SIZE;
    let log = fs::OpenOptions::new()
        .create(true)
        .append(!is_long)
        .write(true)
        .truncate(is_long)
        .mode(0o600)
        .open(path)
        .map_err(|error| io_error("the log of PostgreSQL cannot be written", path, error))?;
    Ok((log, if is_long { 0 } else { length }))
}
