//! In place of the private PostgreSQL, in a program without the feature `private-postgres`: such a program refuses to
//! start without `DATABASE_URL`.

use std::path::Path;

use crate::config::MissingFeature;

/// Why the private PostgreSQL cannot be used.
pub type ClusterError = MissingFeature;

/// A private PostgreSQL, which cannot exist.
pub enum Cluster {}

impl Cluster {
    /// Always an error.
    pub async fn start(_: &Path) -> Result<Self, ClusterError> {
        let needed_by = "a private PostgreSQL, which is used without DATABASE_URL,";
        Err(MissingFeature { needed_by, feature: "private-postgres" })
    }

    /// Always an error.
    pub async fn attach_or_start(data_dir: &Path) -> Result<Self, ClusterError> {
        Self::start(data_dir).await
    }

    /// Never called.
    pub fn url(&self) -> &str {
        match *self {}
    }

    /// Never called.
    pub fn data_dir(&self) -> &Path {
        match *self {}
    }

    /// Never called.
    pub async fn supervise(&self) -> ClusterError {
        match *self {}
    }

    /// Never called.
    pub async fn stop(self) -> Result<(), ClusterError> {
        match self {}
    }
}

/// Whether there is no private database yet.
pub fn is_not_created(_: &anyhow::Error) -> bool {
    false
}
