//! The user that owns the data and runs PostgreSQL, which refuses to run as root.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use super::child;
use super::error::{ClusterError, io_error};
use crate::durable;

/// The user that owns the data and runs the server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner {
    /// The user of this process, which is not root.
    CurrentUser,
    /// An unprivileged user, because this process runs as root.
    Unprivileged { uid: u32, gid: u32 },
}

impl Owner {
    /// The user of this process. For root: the first of `postgres` and `nobody` that exists.
    pub(super) fn find() -> Result<Self, ClusterError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::CurrentUser);
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let find = |name: &str| {
            users.lines().find_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                match fields.as_slice() {
                    [user, _, uid, gid, ..] if *user == name => {
                        Some((uid.parse().ok()?, gid.parse().ok()?))
                    }
                    _ => None,
                }
            })
        };
        let (uid, gid) =
            find("postgres").or_else(|| find("nobody")).ok_or(ClusterError::NoUnprivilegedUser)?;
        Ok(Self::Unprivileged { uid, gid })
    }

    /// A command that runs as the owner, in its own process group, with `/` as its working directory (the
    /// owner may have no access to the current one).
    pub(super) fn command(self, program: &Path) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = child::command(program);
        command.process_group(0).current_dir("/");
        if let Self::Unprivileged { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Whether the owner may pass through the folder and every folder above it.
    pub(super) fn can_enter(self, folder: &Path) -> bool {
        let Self::Unprivileged { uid, gid } = self else { return true };
        folder.ancestors().all(|above| {
            fs::metadata(above).is_ok_and(|meta| {
                let mode = meta.permissions().mode();
                let shift = if meta.uid() == uid {
                    6
                } else if meta.gid() == gid {
                    3
                } else {
                    0
                };
                mode >> shift & 1 == 1
            })
        })
    }

    /// Creates the data folder and its missing parents. Only this user may write to them or list them, whatever
    /// the umask is: a user who can write to the data folder can replace the keys. The owner may pass through. A
    /// folder that exists keeps its mode, but other users must not be able to write to it.
    pub(super) fn create_data_folder(self, path: &Path) -> Result<(), ClusterError> {
        let failed = |error| io_error("the data folder cannot be created", path, error);
        let mode = match self {
            Self::CurrentUser => 0o700,
            Self::Unprivileged { .. } => 0o711,
        };
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
            .collect();
        durable::create_folder(path, mode).map_err(failed)?;
        for folder in missing {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).map_err(failed)?;
        }
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        // A folder with the sticky bit protects the files of each user, as in /tmp.
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            return Err(ClusterError::WritableByOthers(path.to_owned()));
        }
        Ok(())
    }

    /// Creates a folder that only the owner may enter, or restricts one that exists. Fails if the folder
    /// belongs to a user other than the owner or the user of this process, who could replace its contents.
    pub(super) fn create_folder(self, path: &Path) -> Result<(), ClusterError> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(io_error(
                    "a folder of the private database cannot be created",
                    path,
                    error,
                ));
            }
        }
        let failed =
            |error| io_error("a folder of the private database cannot be prepared", path, error);
        let meta = fs::symlink_metadata(path).map_err(failed)?;
        let current_user = rustix::process::geteuid().as_raw();
        let owner = match self {
            Self::CurrentUser => current_user,
            Self::Unprivileged { uid, .. } => uid,
        };
        if !meta.is_dir() || (meta.uid() != current_user && meta.uid() != owner) {
            let error =
                io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user");
            return Err(io_error("a folder of the private database cannot be used", path, error));
        }
        if let Self::Unprivileged { uid, gid } = self {
            std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(failed)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)
    }
}
