//! A PostgreSQL of our own, for a site that was given none: made with the PostgreSQL that is installed,
//! on a unix socket only, in a data folder that survives restarts.
//!
//! ```text
//! frontdesk ──pipe──▶ sh ──child──▶ postgres -D data/postgres
//! ```
//!
//! The shell in between starts the server and waits for the end of the pipe. However this process ends
//! (in order, by `kill -9`), the pipe ends with it, and the shell stops the server: nothing is ever left
//! running. Both are in a process group of their own, so that Ctrl-C reaches only Frontdesk, which
//! finishes its work first. Must never listen on a network address.
//!
//! - `keeper.rs`: the shells. `initdb` runs below one too, and is killed with this process.
//! - `place.rs`: the folders, and the lock. The process that holds the lock owns the server; other processes of
//!   Frontdesk join it over its socket.
//! - `former.rs`: before a start, a server that a former process has left is stopped. Only a PostgreSQL that works
//!   in the data folder is waited for or signaled; a stale or copied `postmaster.pid` is removed.
//! - `create.rs`: creates the data, in a new folder for each attempt.
//! - `running.rs`: starts and stops the server.
//! - `supervision.rs`: restarts a server that ended unexpectedly.

mod binaries;
mod create;
mod error;
mod former;
mod keeper;
mod place;
mod running;
mod supervision;

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use binaries::Binaries;
pub use error::ClusterError;
use keeper::POLL;
use place::{NAME, Place};
use running::Running;

/// How long a command waits for the server of another Frontdesk to accept connections.
const JOIN_DEADLINE: Duration = Duration::from_secs(120);

/// A private PostgreSQL. Dropping it stops the server, without waiting; [`Cluster::stop`] waits.
pub struct Cluster {
    place: Place,
    url: String,
    /// `None`: another Frontdesk runs it.
    running: Option<Running>,
}

impl Cluster {
    /// Starts the server on `data_dir`, made on first use. Waits until it accepts connections.
    pub async fn start(data_dir: &Path) -> Result<Self, ClusterError> {
        Self::start_with(data_dir, &[]).await
    }

    /// The same with settings of PostgreSQL on top.
    pub async fn start_with(
        data_dir: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, ClusterError> {
        let place = Place::prepare(data_dir)?;
        match place.lock()? {
            Some(lock) => Self::own(place, lock, settings).await,
            None => Err(ClusterError::InUse(place.folder)),
        }
    }

    /// Joins the server that another Frontdesk runs on `data_dir`, or starts one.
    pub async fn attach_or_start(data_dir: &Path) -> Result<Self, ClusterError> {
        let place = Place::prepare(data_dir)?;
        let began = Instant::now();
        loop {
            if let Some(lock) = place.lock()? {
                return Self::own(place, lock, &[]).await;
            }
            if place.is_ready().await {
                return Ok(Self { url: place.url(NAME), place, running: None });
            }
            if began.elapsed() > JOIN_DEADLINE {
                return Err(ClusterError::InUse(place.folder));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn own(
        place: Place,
        lock: File,
        settings: &[(&str, &str)],
    ) -> Result<Self, ClusterError> {
        place.end_former().await?;
        create::remove_unfinished(&place)?;
        let made = place.made_by()?;
        let binaries = Binaries::find(made).ok_or_else(|| match (made, Binaries::majors()) {
            (Some(made), found) if !found.is_empty() => {
                ClusterError::OtherVersion { folder: place.data(), made, found }
            }
            _ => ClusterError::NotInstalled,
        })?;
        if made.is_none() {
            create::create(&place, &binaries).await?;
        }
        let running = Running::new(lock, binaries, settings);
        running.start(&place).await?;
        Ok(Self { url: place.url(NAME), place, running: Some(running) })
    }

    /// The address of the database `frontdesk` in it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of another database in it.
    pub fn url_for(&self, database: &str) -> String {
        self.place.url(database)
    }

    /// Where its data lies.
    pub fn data_dir(&self) -> &Path {
        &self.place.folder
    }

    /// Whether this process runs the server, rather than having joined it.
    pub fn is_owner(&self) -> bool {
        self.running.is_some()
    }

    /// Restarts the server whenever it ends before [`Cluster::stop`], for as long as this future is polled.
    /// Returns when restarts have failed for five minutes; never for a server that was joined.
    pub async fn supervise(&self) -> ClusterError {
        match &self.running {
            Some(running) => running.supervise(&self.place).await,
            None => std::future::pending().await,
        }
    }

    /// Stops the server and waits for it; one that was joined goes on.
    pub async fn stop(self) -> Result<(), ClusterError> {
        match self.running {
            Some(running) => running.stop(&self.place).await,
            None => Ok(()),
        }
    }
}
