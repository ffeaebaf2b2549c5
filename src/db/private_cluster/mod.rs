//! A private PostgreSQL, for a site without `DATABASE_URL`. It uses the PostgreSQL that is installed and
//! listens on a Unix socket only, never on a network address. Its data folder survives restarts.
//!
//! ```text
//! frontdesk ──pipe──▶ sh ──child──▶ postgres -D data/postgres
//! ```
//!
//! The shell starts the server and reads from the pipe. When Frontdesk exits, even by `kill -9`, the pipe is
//! closed and the shell stops the server. Shell and server have their own process group, so that Ctrl-C
//! reaches only Frontdesk, which finishes its requests first.
//!
//! - `wrapper.rs`: the shell scripts. `initdb` also runs as a child of such a script, and is killed when
//!   Frontdesk exits.
//! - `data_folder.rs`: the folders and the lock. The process that holds the lock owns the server; other
//!   processes of Frontdesk connect to it over its socket.
//! - `child.rs`: every child process, with a clean environment.
//! - `owner.rs`: the user that owns the data and runs the server.
//! - `leftover_server.rs`: before a start, stops a server that an earlier process left running. Only a
//!   PostgreSQL whose working directory is the data folder is waited for or signaled; a stale or copied
//!   `postmaster.pid` is removed.
//! - `create.rs`: creates the data, in a new folder for each attempt.
//! - `server.rs`: starts and stops the server.
//! - `supervision.rs`: restarts a server that ended unexpectedly.

mod binaries;
mod child;
mod create;
mod data_folder;
mod error;
mod leftover_server;
mod owner;
mod server;
mod supervision;
mod wrapper;

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use binaries::Binaries;
use data_folder::{DataFolder, NAME};
pub use error::ClusterError;
use server::OwnedServer;
use wrapper::POLL_INTERVAL;

/// How long a command waits for the server of another Frontdesk process to accept connections.
const ATTACH_DEADLINE: Duration = Duration::from_secs(120);

/// Whether `error` says that there is no private database yet.
pub fn is_not_created(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ClusterError::NotCreated(_)))
}

/// A private PostgreSQL. Dropping it stops the server without waiting; [`Cluster::stop`] waits.
pub struct Cluster {
    folder: DataFolder,
    url: String,
    /// `None`: another Frontdesk process runs the server.
    server: Option<OwnedServer>,
}

impl Cluster {
    /// Starts the server on `data_dir` and waits until it accepts connections. Creates the data on first use.
    pub async fn start(data_dir: &Path) -> Result<Self, ClusterError> {
        Self::start_with(data_dir, &[]).await
    }

    /// Like [`Cluster::start`], with additional settings of PostgreSQL.
    pub async fn start_with(
        data_dir: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, ClusterError> {
        let folder = DataFolder::prepare(data_dir)?;
        match folder.lock()? {
            Some(lock) => Self::start_owned(folder, lock, settings).await,
            None => Err(ClusterError::InUse(folder.path)),
        }
    }

    /// Uses the server that another Frontdesk process runs on `data_dir`, or starts one on existing data.
    pub async fn attach_or_start(data_dir: &Path) -> Result<Self, ClusterError> {
        if !DataFolder::is_created(data_dir)? {
            return Err(ClusterError::NotCreated(data_dir.to_owned()));
        }
        let folder = DataFolder::prepare(data_dir)?;
        let started_at = Instant::now();
        loop {
            if let Some(lock) = folder.lock()? {
                return Self::start_owned(folder, lock, &[]).await;
            }
            if folder.is_ready().await {
                return Ok(Self { url: folder.url(NAME), folder, server: None });
            }
            if started_at.elapsed() > ATTACH_DEADLINE {
                return Err(ClusterError::InUse(folder.path));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn start_owned(
        folder: DataFolder,
        lock: File,
        settings: &[(&str, &str)],
    ) -> Result<Self, ClusterError> {
        folder.stop_leftover_server().await?;
        create::remove_unfinished(&folder)?;
        let version = folder.data_version()?;
        let binaries =
            Binaries::find(version).ok_or_else(|| match (version, Binaries::versions()) {
                (Some(version), installed) if !installed.is_empty() => {
                    ClusterError::OtherVersion { folder: folder.data(), version, installed }
                }
                _ => ClusterError::NotInstalled,
            })?;
        if version.is_none() {
            create::create(&folder, &binaries).await?;
        }
        let server = OwnedServer::new(lock, binaries, settings);
        server.start(&folder).await?;
        Ok(Self { url: folder.url(NAME), folder, server: Some(server) })
    }

    /// The URL of the database `frontdesk`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of another database of this cluster.
    pub fn url_for(&self, database: &str) -> String {
        self.folder.url(database)
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        &self.folder.path
    }

    /// Restarts the server whenever it ends before [`Cluster::stop`], for as long as this future is polled.
    /// Returns once restarts have failed for five minutes. Never returns if another process runs the server.
    pub async fn supervise(&self) -> ClusterError {
        match &self.server {
            Some(server) => server.supervise(&self.folder).await,
            None => std::future::pending().await,
        }
    }

    /// Stops the server and waits until it has exited. A server of another process keeps running.
    pub async fn stop(self) -> Result<(), ClusterError> {
        match self.server {
            Some(server) => server.stop(&self.folder).await,
            None => Ok(()),
        }
    }
}
