//! The shells between Frontdesk and the programs of PostgreSQL. Each holds the read end of a pipe; when Frontdesk
//! ends, for whatever reason, the pipe is closed and the shell ends its program.
//!
//! A shell signals its own process group and nothing else, so that a signal never reaches a process that was given
//! the number of a process that has ended. PostgreSQL's postmaster and `initdb` stay in that group.

use std::io;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Instant;

use super::place::Owner;
use std::time::Duration;

/// A fast shutdown writes a checkpoint. After this time the server is stopped immediately and recovers at the next start.
pub(super) const STOP_DEADLINE: Duration = Duration::from_secs(10);
pub(super) const POLL: Duration = Duration::from_millis(10);

/// Runs the server. At the end of the pipe: a fast shutdown, repeated because a postmaster that has only just
/// started ignores the signal, and an immediate shutdown after ten seconds.
const SERVER: &str = r#"
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

/// Runs a program that creates the data, with `$1` as its input. At the end of the pipe everything is killed: what
/// is unfinished is not used again. Descriptor 4 is the locked file that [`run`] gets; every process below holds it.
const PROGRAM: &str = r#"
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

/// The shell that runs the server. Dropping it stops the server, without waiting.
pub(super) struct Keeper(Child);

impl Keeper {
    /// Starts `program` with `arguments`, its output going to `log`.
    pub(super) fn start(
        owner: Owner,
        program: &Path,
        arguments: &[String],
        log: std::fs::File,
    ) -> io::Result<Self> {
        let errors = log.try_clone()?;
        let mut shell = shell(owner, SERVER);
        shell.arg(program).args(arguments).stdout(log).stderr(errors);
        shell.spawn().map(Self)
    }

    /// How the server ended. Exit code above 128: the server got signal code − 128. A signal: the shell itself was killed.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Stops the server. Returns `true` when it has ended; `false` when the shell was killed, or failed to end it.
    pub(super) async fn stop(mut self) -> io::Result<bool> {
        drop(self.0.stdin.take());
        let began = Instant::now();
        while began.elapsed() < STOP_DEADLINE + STOP_DEADLINE / 5 {
            if let Some(status) = self.ended()? {
                return Ok(status.code().is_some());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(false)
    }
}

/// Runs a program to its end; answers what it wrote to standard error when it failed. Dropping the future kills it,
/// and everything that it has started. Each of those processes holds `lock` open.
pub(super) async fn run(
    owner: Owner,
    lock: &std::fs::File,
    input: &str,
    program: &Path,
    arguments: &[&str],
) -> io::Result<Result<(), String>> {
    let mut shell = shell(owner, PROGRAM);
    shell.arg(input).arg(program).args(arguments);
    let mut child = shell.stdout(lock.try_clone()?).stderr(Stdio::piped()).spawn()?;
    // Closed when this future is dropped.
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
