//! A real server: the binary in its own process.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::lines::lines;
use super::{Browser, Database};

/// Name and value of a setting.
pub type Setting<'a> = (&'a str, &'a str);

/// The key of servers without another FRONTDESK_SECRET_KEYS.
pub const KEY: &str = "tK8vQ2mZx7Lr4Wc9Ns1Bp6Hd3Yg5Jf0aEuViOoTbXkRlPzM";

/// Tests that stop a server do not wait for load balancers.
const NO_DRAIN: Setting<'static> = ("FRONTDESK_DRAIN", "0s");

/// A running server; killed when dropped.
pub struct Server {
    /// Host and port.
    pub addr: String,
    pub child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts one on `database` and waits until it listens.
    pub fn start(database: &Database, settings: &[Setting<'_>]) -> Self {
        // All tests run as the application role, which shows that its privileges suffice.
        let url = database.server_url.as_str();
        let mut all = vec![("DATABASE_URL", url), ("FRONTDESK_SECRET_KEYS", KEY)];
        all.extend_from_slice(settings);
        Self::start_with(&all).unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Starts one with these settings only; `Err` is its log if it did not start.
    pub fn start_with(settings: &[Setting<'_>]) -> Result<Self, String> {
        let all = [&[NO_DRAIN], settings].concat();
        Self::start_program(Path::new(env!("CARGO_BIN_EXE_frontdesk")), &all)
    }

    /// Like [`Self::start_with`], with another binary, which may be a version that does not know every setting.
    pub fn start_program(program: &Path, settings: &[Setting<'_>]) -> Result<Self, String> {
        let (errors, stderr) = std::io::pipe().expect("a pipe");
        let log = Arc::new(Mutex::new(String::new()));
        let writer = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut log = writer.lock().expect("not poisoned");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let Some(mut server) = Self::spawn(program, settings, stderr.into()) else {
            reader.join().ok();
            return Err(log.lock().expect("not poisoned").clone());
        };
        server.log = log;
        server.reader = Some(reader);
        Ok(server)
    }

    /// Starts one on `database` whose standard error is `stderr`. [`Self::log`] stays empty.
    pub fn start_logging_to(
        database: &Database,
        stderr: impl Into<Stdio>,
        settings: &[Setting<'_>],
    ) -> Self {
        let url = database.server_url.as_str();
        let mut all = vec![("DATABASE_URL", url), ("FRONTDESK_SECRET_KEYS", KEY), NO_DRAIN];
        all.extend_from_slice(settings);
        let program = Path::new(env!("CARGO_BIN_EXE_frontdesk"));
        Self::spawn(program, &all, stderr.into()).expect("the server starts")
    }

    /// `None`: it did not start.
    fn spawn(program: &Path, settings: &[Setting<'_>], stderr: Stdio) -> Option<Self> {
        // If the tests run under `nohup`, the server would inherit that SIGHUP is ignored.
        let mut command = Command::new("env");
        command
            .arg("--default-signal=HUP")
            .arg(program)
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("FRONTDESK_BIND", "127.0.0.1:0")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let mut child = command.spawn().expect("the program starts");
        // `command` holds `stderr` open.
        drop(command);
        let output = lines(child.stdout.take().expect("piped"));
        while let Ok(line) = output.recv_timeout(Duration::from_secs(60)) {
            if let Some(url) = line.strip_prefix("Site") {
                let addr = url.trim().trim_start_matches("http://").trim_end_matches('/');
                let (addr, log) = (addr.to_owned(), Arc::default());
                return Some(Self { addr, child, log, reader: None });
            }
        }
        // It exited, or it does not listen within the timeout.
        child.kill().ok();
        child.wait().ok();
        None
    }

    /// A browser without cookies.
    pub fn browser(&self) -> Browser {
        Browser::new(&self.addr)
    }

    /// Waits until it serves sessions from the cache.
    pub fn until_live(self) -> Self {
        let began = Instant::now();
        while !self.browser().get("/readyz").body.contains("\"sessions\":\"trusted\"") {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "the cache is not live:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        self
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("not poisoned").clone()
    }

    /// Sends SIGTERM and waits for the exit. Returns the complete log.
    pub fn stop(mut self) -> String {
        self.signal("TERM");
        self.ended();
        self.reader.take().expect("stopped once").join().expect("it read to the end");
        self.log()
    }

    /// Sends a signal by its name: TERM, KILL, STOP, CONT.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), pid.as_str()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until it exits. Returns the exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child process") {
                return status.code();
            }
            assert!(began.elapsed() < Duration::from_secs(30), "the server did not exit");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
