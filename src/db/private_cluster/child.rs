//! Child processes. Their environment is empty except for `PATH`: the private PostgreSQL runs as another user,
//! and `/proc/PID/environ` shows the environment of a process to its user.

use std::path::Path;
use std::process::Command;

use crate::config;

/// A command with a clean environment. No other code starts a process.
pub(super) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env_clear().envs(config::search_path().map(|path| ("PATH", path)));
    command
}
