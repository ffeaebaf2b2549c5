//! The folders of a private cluster, and the lock on them. The process that holds the lock runs the server.
//! Two checkouts have two data folders, so they never share a server.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use sha2::{Digest as _, Sha256};
use tokio::net::UnixStream;

use super::error::{ClusterError, io_error};
use super::owner::Owner;

/// The name of the role, and of the database it owns.
pub(super) const NAME: &str = "frontdesk";
pub(super) const PORT: &str = "5432";
/// Maximum length of a socket path in bytes: 103 on macOS, 107 on Linux.
const MAX_SOCKET_PATH: usize = 103;

/// The folders of one private cluster.
#[derive(Debug)]
pub(super) struct DataFolder {
    /// The folder that contains all others, the lock and the log.
    pub(super) path: PathBuf,
    pub(super) owner: Owner,
    socket_dir: PathBuf,
}

impl DataFolder {
    /// Whether the data exists, or another process is about to create it. Creates nothing.
    pub(super) fn is_created(data_dir: &Path) -> Result<bool, ClusterError> {
        let Ok(path) = fs::canonicalize(data_dir) else { return Ok(false) };
        let owner = Owner::find()?;
        let path = if owner.can_enter(&path) { path } else { elsewhere(&path) };
        let socket_dir = PathBuf::new();
        let folder = Self { path, owner, socket_dir };
        let is_locked = File::open(folder.lock_file())
            .is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)));
        Ok(is_locked || folder.data_version()?.is_some())
    }

    /// Creates the folders: below `data_dir`, or below `/var/lib/frontdesk` if the owner has no access to
    /// `data_dir`.
    pub(super) fn prepare(data_dir: &Path) -> Result<Self, ClusterError> {
        let owner = Owner::find()?;
        owner.create_data_folder(data_dir)?;
        let mut path = fs::canonicalize(data_dir)
            .map_err(|error| io_error("the data folder cannot be read", data_dir, error))?;
        if !owner.can_enter(&path) {
            let other = elsewhere(&path);
            tracing::info!(
                folder = %other.display(),
                "the private database is in this folder, because its user cannot enter {}",
                path.display()
            );
            owner.create_data_folder(&other)?;
            path = other;
        }
        let cluster = path.join("database");
        owner.create_folder(&cluster)?;
        let mut socket_dir = cluster.clone();
        if socket_dir.as_os_str().len() + "/.s.PGSQL.".len() + PORT.len() > MAX_SOCKET_PATH {
            socket_dir = std::env::temp_dir().join(format!("frontdesk-{}", short_name(&path)));
            owner.create_folder(&socket_dir)?;
        }
        Ok(Self { path, owner, socket_dir })
    }

    /// Acquires the lock, which is held as long as the file is open. `None`: another process holds it.
    pub(super) fn lock(&self) -> Result<Option<File>, ClusterError> {
        let path = self.lock_file();
        let failed = |error| io_error("the data folder cannot be locked", &path, error);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Whether the path of the lock file still refers to the open file `lock`. It does not if the folder was
    /// moved or replaced.
    pub(super) fn is_locked_by(&self, lock: &File) -> bool {
        match (lock.metadata(), fs::metadata(self.lock_file())) {
            (Ok(held), Ok(found)) => (held.dev(), held.ino()) == (found.dev(), found.ino()),
            _ => false,
        }
    }

    fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The folder of PostgreSQL's data and of the socket.
    pub(super) fn cluster(&self) -> PathBuf {
        self.path.join("database")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.cluster().join("postgres")
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    fn socket(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{PORT}"))
    }

    pub(super) fn socket_lock_file(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{PORT}.lock"))
    }

    pub(super) fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("postgres.log")
    }

    /// A sentence with the last lines that the server wrote to its log after byte `start`.
    pub(super) fn log_excerpt(&self, start: u64) -> String {
        let path = self.log();
        let bytes = read_tail(&path, start).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        if lines.is_empty() {
            return format!("It wrote nothing to {}.", path.display());
        }
        let end = lines[lines.len().saturating_sub(8)..].join("\n");
        format!("The last lines of {}:\n{end}", path.display())
    }

    /// The URL of a database of this cluster.
    pub(super) fn url(&self, database: &str) -> String {
        let socket = self.socket_dir.display().to_string();
        let host =
            percent_encoding::utf8_percent_encode(&socket, percent_encoding::NON_ALPHANUMERIC);
        format!("postgres://{NAME}@localhost:{PORT}/{database}?host={host}")
    }

    /// The major version of PostgreSQL that created the data; `None` if there is no data yet.
    pub(super) fn data_version(&self) -> Result<Option<u32>, ClusterError> {
        let path = self.data().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("the data folder cannot be read", &path, error)),
        }
    }

    /// Whether the server on this data accepts connections.
    pub(super) async fn is_ready(&self) -> bool {
        let text = fs::read_to_string(self.pid_file()).unwrap_or_default();
        if text.lines().nth(7).map(str::trim) != Some("ready") {
            return false;
        }
        match self.listener().await {
            // If the folder was copied with hard links, the socket belongs to the server of the original.
            Some(Some(pid)) => has_working_directory(pid, &self.data(), self.owner) != Some(false),
            // The server runs in another container, or the system does not report process IDs.
            Some(None) => true,
            None => false,
        }
    }

    /// The process that accepts connections on the socket. `Some(None)`: the system does not report its
    /// process ID.
    pub(super) async fn listener(&self) -> Option<Option<Pid>> {
        let stream = UnixStream::connect(self.socket()).await.ok()?;
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        Some(pid.filter(|pid| *pid > 0).and_then(Pid::from_raw))
    }
}

/// Reads at most the last 64 KiB of a file, from byte `start` on.
fn read_tail(path: &Path, start: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let from = start.max(file.metadata()?.len().saturating_sub(64 * 1024));
    file.seek(io::SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The data folder that is used instead of one that the owner cannot enter.
fn elsewhere(path: &Path) -> PathBuf {
    Path::new("/var/lib/frontdesk").join(short_name(path))
}

/// A short unique name for a long path: 48 bits of its SHA-256 in hexadecimal.
fn short_name(folder: &Path) -> String {
    hex::encode(&Sha256::digest(folder.as_os_str().as_encoded_bytes())[..6])
}

/// Whether the working directory of the process is `data`; `None` if the system does not report it.
pub(super) fn has_working_directory(pid: Pid, data: &Path, owner: Owner) -> Option<bool> {
    if !Path::new("/proc/self/cwd").exists() {
        return None;
    }
    let folder = PathBuf::from(format!("/proc/{}/cwd", pid.as_raw_nonzero()));
    match (fs::metadata(&folder), owner) {
        (Ok(_), _) => Some(is_same_folder(&folder, data)),
        // Root in a container may lack CAP_SYS_PTRACE. The user that runs the server needs no capability to
        // read it.
        (Err(error), Owner::Unprivileged { .. })
            if error.kind() == io::ErrorKind::PermissionDenied =>
        {
            let mut shell = owner.command(Path::new("/bin/sh"));
            shell.args(["-c", r#"[ "$1" -ef "$2" ]"#, "sh"]).arg(&folder).arg(data);
            Some(shell.stderr(std::process::Stdio::null()).status().is_ok_and(|it| it.success()))
        }
        // The process has ended, or it runs as another user and so cannot be a server on this data.
        (Err(_), _) => Some(false),
    }
}

pub(super) fn is_same_folder(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}
