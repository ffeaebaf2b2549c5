//! The program under test as a process.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::settings::{self, Settings};
use crate::config;

/// How long a server may take to start, and to stop.
const LIMIT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// What a command of the program answered.
///
/// ```no_run
/// # let server = frontdesk::testing::TestServer::start("");
/// let output = server.command(["user", "list"]);
/// assert_eq!(output.code, Some(0), "{}", output.stderr);
/// assert!(output.stdout.contains("ada@example.com"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandOutput {
    /// The exit code. `None`: a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A server process. Dropping it kills the process. It also ends with this process, which may be killed: the pipe to
/// its standard input is closed then.
pub(super) struct Process {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub(super) url: String,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts a server and waits until it listens. `Err` is its log.
    pub(super) fn start(program: &Path, settings: &Settings) -> Result<Self, String> {
        let mut command = command(program, settings);
        command.env(config::ENDS_WITH_INPUT, "1").stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| cannot_run(program, &error));
        let log = Arc::new(Mutex::new(String::new()));
        let reader = child.stderr.take().map(|stderr| {
            let log = Arc::clone(&log);
            thread::spawn(move || copy_lines(stderr, |line| append(&log, line)))
        });
        let (send, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || copy_lines(stdout, |line| send.send(line.to_owned()).is_ok()));
        }
        let mut process = Self { child, url: String::new(), log };
        let started_at = Instant::now();
        loop {
            match lines.recv_timeout(LIMIT.saturating_sub(started_at.elapsed())) {
                Ok(line) => {
                    if let Some(url) = line.strip_prefix("Site") {
                        process.url = url.trim().trim_end_matches('/').to_owned();
                        return Ok(process);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("It did not listen in time.\n{}", process.log()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    // It has exited. Its last lines are read before they are returned.
                    reader.map(thread::JoinHandle::join);
                    return Err(process.log());
                }
            }
        }
    }

    /// Everything that it logged so far.
    pub(super) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks it to stop, and waits until it has exited. Returns the exit code.
    pub(super) fn stop(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        // It fails if the process has exited already.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        let started_at = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.code(),
                Ok(None) if started_at.elapsed() < LIMIT => thread::sleep(POLL_INTERVAL),
                _ => panic!("the server did not stop:\n{}", self.log()),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs a command of the program to its end.
pub(super) fn run(program: &Path, settings: &Settings, arguments: &[&str]) -> CommandOutput {
    let mut command = command(program, settings);
    let output = command.args(arguments).output();
    let output = output.unwrap_or_else(|error| cannot_run(program, &error));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    CommandOutput {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Its working directory has no `.env`.
fn command(program: &Path, settings: &Settings) -> Command {
    let folder = settings::folder(program).join("work");
    fs::create_dir_all(&folder)
        .unwrap_or_else(|error| panic!("{} cannot be created: {error}", folder.display()));
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env_clear()
        .envs(settings::inherited())
        .envs(settings.iter())
        .stdin(Stdio::null());
    command
}

fn cannot_run(program: &Path, error: &std::io::Error) -> ! {
    panic!("{} cannot be run: {error}", program.display());
}

/// Calls `each` with every line until it returns `false`. Reads to the end in any case, so that the program never
/// waits for a full pipe.
fn copy_lines(source: impl Read, mut each: impl FnMut(&str) -> bool) {
    let mut wanted = true;
    for line in BufReader::new(source).lines().map_while(Result::ok) {
        wanted = wanted && each(&line);
    }
}

fn append(log: &Mutex<String>, line: &str) -> bool {
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.push_str(line);
    log.push('\n');
    true
}
