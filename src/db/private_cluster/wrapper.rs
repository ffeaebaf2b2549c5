//! Shell scripts that run PostgreSQL programs and stop them when Frontdesk exits. Each script holds the read
//! end of a pipe. When Frontdesk exits for any reason, including `kill -9`, the pipe is closed and the script
//! stops its program.
//!
//! A script signals only its own process group. A signal to a process ID could reach an unrelated process
//! that reuses the ID. PostgreSQL's postmaster and `initdb` stay in that group.

use std::io;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::owner::Owner;

/// Deadline of a fast shutdown, which writes a checkpoint. After it, the server is stopped by an immediate
/// shutdown and recovers at the next start.
pub(super) const STOP_DEADLINE: Duration = Duration::from_secs(10);
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Runs the server. When the pipe is closed, requests a fast shutdown (SIGINT), repeatedly, because a
/// postmaster that has only just started ignores the signal. After ten seconds it requests an immediate
/// shutdown (SIGQUIT).
const SERVER_SCRIPT: &str = r#"
exec 3<&0 </dev/null
trap '' INT QUIT
"$@" 3<&- &
server=$!
{
  read -r _ <&3
  for second in 1 2 3 4 5 6 7 8 9 10; do kill -INT 0; sleep 1; done
  kill -QUIT 0
} &
exec 3<&-
wait "$server"
code=$?
trap '' TERM
kill -TERM 0
exit "$code"
"#;

/// Runs a program that creates the data, with `$1` as its input. When the pipe is closed, kills the whole
/// process group: unfinished data is not used again. File descriptor 4 is the lock of [`run`]; every process
/// of the group holds it open.
const PROGRAM_SCRIPT: &str = r#"
exec 3<&0 4>&1 </dev/null >/dev/null
{ read -r _ <&3; kill -KILL 0; } 2>/dev/null &
guard=$!
input=$1
shift
printf '%s' "$input" | "$@" 3<&-
code=$?
kill "$guard"
exit "$code"
"#;

/// The shell that runs the server. Dropping it stops the server without waiting.
pub(super) struct ServerProcess(Child);

impl ServerProcess {
    /// Starts `program` with `arguments`. Its output is written to `log`.
    pub(super) fn start(
        owner: Owner,
        program: &Path,
        arguments: &[String],
        log: std::fs::File,
    ) -> io::Result<Self> {
        let errors = log.try_clone()?;
        let mut shell = shell(owner, SERVER_SCRIPT);
        shell.arg(program).args(arguments).stdout(log).stderr(errors);
        shell.spawn().map(Self)
    }

    /// How the server ended; `None` while it runs. An exit code above 128 means that signal `code − 128`
    /// ended the server, a signal means that the shell itself was killed.
    pub(super) fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Stops the server. Returns `false` if the server may still run: the shell was killed, or could not stop
    /// it.
    pub(super) async fn stop(mut self) -> io::Result<bool> {
        drop(self.0.stdin.take());
        let started_at = Instant::now();
        while started_at.elapsed() < STOP_DEADLINE + STOP_DEADLINE / 5 {
            if let Some(status) = self.exit_status()? {
                return Ok(status.code().is_some());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(false)
    }
}

/// Runs a program to completion. The inner error is the standard error of a program that failed. Dropping the
/// future kills the program and all its child processes. Each of them holds `lock` open.
pub(super) async fn run(
    owner: Owner,
    lock: &std::fs::File,
    input: &str,
    program: &Path,
    arguments: &[&str],
) -> io::Result<Result<(), String>> {
    let mut shell = shell(owner, PROGRAM_SCRIPT);
    shell.arg(input).arg(program).args(arguments);
    let mut child = shell.stdout(lock.try_clone()?).stderr(Stdio::piped()).spawn()?;
    // Closed when this future is dropped, which makes the script kill the program.
    let _pipe: Option<ChildStdin> = child.stdin.take();
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = waiting.await.map_err(io::Error::other)??;
    if output.status.success() {
        return Ok(Ok(()));
    }
    Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn shell(owner: Owner, script: &str) -> Command {
    let mut shell = owner.command(Path::new("/bin/sh"));
    shell.args(["-c", script, "frontdesk-postgres"]).stdin(Stdio::piped());
    shell
}
