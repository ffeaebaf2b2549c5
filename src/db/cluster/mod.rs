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

mod binaries;
mod place;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use binaries::Binaries;
use place::{Owner, Place};

/// The role and the database in it.
const NAME: &str = "frontdesk";
const PORT: &str = "5432";
/// Recovery after a crash of the machine may take a while; a person is told after a second.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// A fast shutdown writes a checkpoint; after this the server is stopped at once and recovers next time.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
/// The server's own log starts anew beyond this.
const LONGEST_LOG: u64 = 8 * 1024 * 1024;

/// Starts the server and stops it when standard input ends, whoever closed it.
const KEEPER: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
{ read -r _ <&3; kill -INT "$server" 2>/dev/null; sleep 10; kill -QUIT "$server" 2>/dev/null; } &
guard=$!
exec 3<&-
wait "$server"
code=$?
kill "$guard" 2>/dev/null
exit "$code"
"#;

/// Why there is no private PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Not installed.
    #[error(
        "PostgreSQL 15 or newer is not installed. Install it:\n  Debian, Ubuntu:  apt-get install postgresql\n  Fedora:          dnf install postgresql-server\n  macOS:           brew install postgresql@17\nor set DATABASE_URL to a PostgreSQL that runs elsewhere."
    )]
    NotInstalled,
    /// Made by another major version.
    #[error(
        "the data in {folder} was made by PostgreSQL {made}, and only {found} is installed. Install PostgreSQL {made}, or move the data with pg_upgrade."
    )]
    OtherVersion {
        /// Where.
        folder: PathBuf,
        /// By which.
        made: u32,
        /// What there is.
        found: String,
    },
    /// Another Frontdesk has it.
    #[error(
        "another Frontdesk is already running on {0}. Stop it, set FRONTDESK_DATA_DIR to another folder, or set DATABASE_URL so that both share one PostgreSQL."
    )]
    InUse(PathBuf),
    /// The server said no.
    #[error("the private PostgreSQL did not start. Its last words, from {log}:\n{words}")]
    DidNotStart {
        /// The whole of it.
        log: PathBuf,
        /// The end of it.
        words: String,
    },
    /// A program of PostgreSQL failed.
    #[error("{program} failed: {words}")]
    Program {
        /// Which.
        program: &'static str,
        /// What it said.
        words: String,
    },
    /// No unprivileged user.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody. Run Frontdesk as an ordinary user."
    )]
    NoUser,
    /// Files and folders.
    #[error("{what} ({path})")]
    Files {
        /// What was tried.
        what: &'static str,
        /// With which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A private PostgreSQL. Dropping it stops the server, without waiting; [`Cluster::stop`] waits.
pub struct Cluster {
    place: Place,
    url: String,
    /// `None`: another Frontdesk runs it.
    running: Option<Running>,
}

struct Running {
    keeper: Child,
    _lock: File,
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
        if let Some(lock) = place.lock()? {
            return Self::own(place, lock, &[]).await;
        }
        let began = Instant::now();
        while !place.is_ready() {
            if began.elapsed() > START_DEADLINE {
                return Err(ClusterError::InUse(place.folder));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Self { url: place.url(NAME), place, running: None })
    }

    async fn own(
        place: Place,
        lock: File,
        settings: &[(&str, &str)],
    ) -> Result<Self, ClusterError> {
        await_former(&place).await?;
        let made = place.made_by()?;
        let binaries = Binaries::find(made).ok_or_else(|| match (made, Binaries::majors()) {
            (Some(made), found) if !found.is_empty() => {
                ClusterError::OtherVersion { folder: place.data(), made, found }
            }
            _ => ClusterError::NotInstalled,
        })?;
        if made.is_none() {
            create(&place, &binaries)?;
        }
        let mut keeper = spawn(&place, &binaries, settings)?;
        let began = Instant::now();
        while !place.is_ready() {
            let ended = keeper
                .try_wait()
                .map_err(|error| files("waiting for PostgreSQL failed", &place.folder, error))?;
            if ended.is_some() || began.elapsed() > START_DEADLINE {
                return Err(ClusterError::DidNotStart {
                    log: place.log(),
                    words: place.last_words(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Self { url: place.url(NAME), place, running: Some(Running { keeper, _lock: lock }) })
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

    /// Stops the server and waits for it; one that was joined goes on.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        // The end of the pipe is the signal.
        drop(running.keeper.stdin.take());
        let began = Instant::now();
        loop {
            let ended = running.keeper.try_wait().map_err(|error| {
                files("waiting for PostgreSQL failed", &self.place.folder, error)
            })?;
            // The keeper sends the sharper signal by itself.
            if ended.is_some() || began.elapsed() > 2 * STOP_DEADLINE {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// A server whose Frontdesk was killed is shutting down, or was left by a killed keeper: nobody else may
/// own it now that we have the lock.
async fn await_former(place: &Place) -> Result<(), ClusterError> {
    let began = Instant::now();
    let mut asked = false;
    while let Some(former) = place.former() {
        if began.elapsed() > STOP_DEADLINE && !asked {
            rustix::process::kill_process(former, rustix::process::Signal::INT).ok();
            asked = true;
        }
        if began.elapsed() > 3 * STOP_DEADLINE {
            return Err(ClusterError::InUse(place.folder.clone()));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Makes the data beside and renames it, so that a kill half-way leaves no half-made data.
fn create(place: &Place, binaries: &Binaries) -> Result<(), ClusterError> {
    place.remove_unfinished()?;
    let beside = place.unfinished();
    let mut initdb = place.owner.command(&binaries.program("initdb"));
    initdb.arg("--pgdata").arg(&beside).args([
        "--username",
        NAME,
        "--encoding",
        "UTF8",
        "--locale",
        "C",
        "--auth",
        "trust",
    ]);
    run("initdb", initdb, "")?;
    let mut single = place.owner.command(&binaries.program("postgres"));
    single.args(["--single", "-D"]).arg(&beside).arg("postgres");
    run("postgres --single", single, &format!("CREATE DATABASE {NAME}\n"))?;
    fs::rename(&beside, place.data())
        .map_err(|error| files("the new database folder can not be put in place", &beside, error))
}

fn run(program: &'static str, mut command: Command, input: &str) -> Result<(), ClusterError> {
    let failed = |words: String| ClusterError::Program { program, words };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

fn spawn(
    place: &Place,
    binaries: &Binaries,
    settings: &[(&str, &str)],
) -> Result<Child, ClusterError> {
    let path = place.log();
    let is_long = fs::metadata(&path).is_ok_and(|log| log.len() > LONGEST_LOG);
    let log = fs::OpenOptions::new()
        .create(true)
        .append(!is_long)
        .write(true)
        .truncate(is_long)
        .open(&path)
        .map_err(|error| files("the log of PostgreSQL can not be written", &path, error))?;
    let errors =
        log.try_clone().map_err(|error| files("the log can not be shared", &path, error))?;
    let socket = format!("unix_socket_directories=\"{}\"", place.socket_dir().display());
    let fixed = [
        "listen_addresses=",
        "unix_socket_permissions=0700",
        "max_connections=60",
        "shared_buffers=64MB",
        "logging_collector=off",
        "log_destination=stderr",
        "log_min_messages=warning",
        // What somebody typed must not reach the log: neither statements nor values nor details.
        "log_statement=none",
        "log_min_error_statement=panic",
        "log_parameter_max_length_on_error=0",
        "log_error_verbosity=terse",
    ];
    let mut keeper = place.owner.command(Path::new("/bin/sh"));
    keeper.args(["-c", KEEPER, "frontdesk-postgres"]).arg(binaries.program("postgres"));
    keeper.arg("-D").arg(place.data()).args(["-p", PORT, "-c", &socket]);
    for setting in fixed {
        keeper.args(["-c", setting]);
    }
    for (name, value) in settings {
        keeper.args(["-c", &format!("{name}={value}")]);
    }
    keeper.stdin(Stdio::piped()).stdout(log).stderr(errors).spawn().map_err(|error| {
        files("PostgreSQL can not be started", &binaries.program("postgres"), error)
    })
}

fn files(what: &'static str, path: &Path, source: io::Error) -> ClusterError {
    ClusterError::Files { what, path: path.to_owned(), source }
}

impl Owner {
    /// A command that runs as the owner of the data, in a process group of its own, in the root folder (the
    /// current one may be closed to it).
    fn command(&self, program: &Path) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(program);
        command.process_group(0).current_dir("/");
        if let Owner::Other { uid, gid } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }
}
