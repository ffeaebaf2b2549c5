//! Where the data lies, whose it is, and whether somebody runs on it. Two checkouts have two folders and so
//! never meet.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;
use sha2::{Digest as _, Sha256};
use tokio::net::UnixStream;

use super::error::ClusterError;
use super::error::files;

/// The name of the role, and of the database it owns.
pub(super) const NAME: &str = "frontdesk";
pub(super) const PORT: &str = "5432";
/// Linux takes 107 bytes for the path of a socket, macOS 103.
const LONGEST_SOCKET: usize = 103;

/// Who owns the data and runs the server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner {
    /// We, an ordinary user.
    Ourselves,
    /// Somebody unprivileged, because we are root.
    Other { uid: u32, gid: u32 },
}

/// The folders of one private cluster.
#[derive(Debug)]
pub(super) struct Place {
    /// Everything is below it.
    pub(super) folder: PathBuf,
    pub(super) owner: Owner,
    socket_dir: PathBuf,
}

impl Place {
    /// Makes the folders, or another place for them when the owner could not reach them.
    pub(super) fn prepare(data_dir: &Path) -> Result<Self, ClusterError> {
        fs::create_dir_all(data_dir)
            .map_err(|error| files("the data folder cannot be created", data_dir, error))?;
        let mut folder = fs::canonicalize(data_dir)
            .map_err(|error| files("the data folder cannot be read", data_dir, error))?;
        let owner = owner()?;
        if let Owner::Other { uid, gid } = owner
            && !is_reachable(&folder, uid, gid)
        {
            let elsewhere = Path::new("/var/lib/frontdesk").join(name_of(&folder));
            tracing::info!(
                folder = %elsewhere.display(),
                "the private database is stored here because its user cannot access {}",
                folder.display()
            );
            fs::create_dir_all(&elsewhere)
                .map_err(|error| files("the data folder cannot be created", &elsewhere, error))?;
            folder = elsewhere;
        }
        let cluster = folder.join("database");
        own_folder(&cluster, owner)?;
        let mut socket_dir = cluster.clone();
        if socket_dir.as_os_str().len() + "/.s.PGSQL.".len() + PORT.len() > LONGEST_SOCKET {
            socket_dir = std::env::temp_dir().join(format!("frontdesk-{}", name_of(&folder)));
            own_folder(&socket_dir, owner)?;
        }
        Ok(Self { folder, owner, socket_dir })
    }

    /// The lock of this place for as long as the file is open; `None` when another process has it.
    pub(super) fn lock(&self) -> Result<Option<File>, ClusterError> {
        let path = self.folder.join("lock");
        let failed = |error| files("the data folder cannot be locked", &path, error);
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Whether the path of the lock still leads to this open `lock`: the folder was neither moved nor replaced.
    pub(super) fn is_locked_by(&self, lock: &File) -> bool {
        match (lock.metadata(), fs::metadata(self.folder.join("lock"))) {
            (Ok(held), Ok(found)) => (held.dev(), held.ino()) == (found.dev(), found.ino()),
            _ => false,
        }
    }

    /// The folder of PostgreSQL's data and of the socket.
    pub(super) fn cluster(&self) -> PathBuf {
        self.folder.join("database")
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
        self.folder.join("postgres.log")
    }

    /// A sentence with the end of what the server has written to its log from byte `start` on.
    pub(super) fn last_words(&self, start: u64) -> String {
        let path = self.log();
        let bytes = read_end(&path, start).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        if lines.is_empty() {
            return format!("It wrote nothing to {}.", path.display());
        }
        let end = lines[lines.len().saturating_sub(8)..].join("\n");
        format!("The end of its log, {}:\n{end}", path.display())
    }

    /// The address of a database here.
    pub(super) fn url(&self, database: &str) -> String {
        let socket = self.socket_dir.display().to_string();
        let host =
            percent_encoding::utf8_percent_encode(&socket, percent_encoding::NON_ALPHANUMERIC);
        format!("postgres://{NAME}@localhost:{PORT}/{database}?host={host}")
    }

    /// The major version that made the data; `None` when there is none yet.
    pub(super) fn made_by(&self) -> Result<Option<u32>, ClusterError> {
        let path = self.data().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(files("the data folder cannot be read", &path, error)),
        }
    }

    /// Whether the server on this data accepts connections.
    pub(super) async fn is_ready(&self) -> bool {
        let text = fs::read_to_string(self.pid_file()).unwrap_or_default();
        if text.lines().nth(7).map(str::trim) != Some("ready") {
            return false;
        }
        match self.listener().await {
            // A socket that was copied as a hard link leads to the server of the original.
            Some(Some(pid)) => works_in(pid, &self.data(), self.owner) != Some(false),
            // It runs in a container beside ours, or the system does not tell.
            Some(None) => true,
            None => false,
        }
    }

    /// The process that accepts connections on the socket: `Some(None)` is one whose number is not known here.
    pub(super) async fn listener(&self) -> Option<Option<Pid>> {
        let stream = UnixStream::connect(self.socket()).await.ok()?;
        let number = stream.peer_cred().ok().and_then(|peer| peer.pid());
        Some(number.filter(|number| *number > 0).and_then(Pid::from_raw))
    }
}

impl Owner {
    /// A command that runs as the owner of the data, in a process group of its own, in the root folder (the
    /// current one may be closed to it).
    pub(super) fn command(self, program: &Path) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(program);
        command.process_group(0).current_dir("/");
        if let Owner::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// At most the last 64 KiB of what was written to a file after byte `start`.
fn read_end(path: &Path, start: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let from = start.max(file.metadata()?.len().saturating_sub(64 * 1024));
    file.seek(io::SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The first of `postgres` and `nobody` that exists, when we are root.
fn owner() -> Result<Owner, ClusterError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Owner::Ourselves);
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
    let (uid, gid) = find("postgres").or_else(|| find("nobody")).ok_or(ClusterError::NoUser)?;
    Ok(Owner::Other { uid, gid })
}

/// Whether a user may pass through every folder above.
fn is_reachable(folder: &Path, uid: u32, gid: u32) -> bool {
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

/// A folder that only the owner may enter. One that somebody else has put there is refused.
pub(super) fn own_folder(path: &Path, owner: Owner) -> Result<(), ClusterError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(files("a folder of the private database cannot be created", path, error));
        }
    }
    let failed = |error| files("a folder of the private database cannot be inspected", path, error);
    let meta = fs::symlink_metadata(path).map_err(failed)?;
    let ours = rustix::process::geteuid().as_raw();
    let wanted = match owner {
        Owner::Ourselves => ours,
        Owner::Other { uid, .. } => uid,
    };
    if !meta.is_dir() || (meta.uid() != ours && meta.uid() != wanted) {
        let theirs = io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user");
        return Err(files("a folder of the private database cannot be used", path, theirs));
    }
    if let Owner::Other { uid, gid } = owner {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(failed)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)
}

/// A short name for a long path.
fn name_of(folder: &Path) -> String {
    Sha256::digest(folder.as_os_str().as_encoded_bytes())
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether the process works in `data`; `None` where the system does not tell.
pub(super) fn works_in(pid: Pid, data: &Path, owner: Owner) -> Option<bool> {
    if !Path::new("/proc/self/cwd").exists() {
        return None;
    }
    let folder = PathBuf::from(format!("/proc/{}/cwd", pid.as_raw_nonzero()));
    match (fs::metadata(&folder), owner) {
        (Ok(_), _) => Some(is_same_folder(&folder, data)),
        // Root in a container may lack CAP_SYS_PTRACE. The user of the server may look at the server without it.
        (Err(error), Owner::Other { .. }) if error.kind() == io::ErrorKind::PermissionDenied => {
            let mut shell = owner.command(Path::new("/bin/sh"));
            shell.args(["-c", r#"[ "$1" -ef "$2" ]"#, "sh"]).arg(&folder).arg(data);
            Some(shell.stderr(std::process::Stdio::null()).status().is_ok_and(|it| it.success()))
        }
        // It has ended, or it runs as another user and so cannot be a server on this data.
        (Err(_), _) => Some(false),
    }
}

pub(super) fn is_same_folder(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}
