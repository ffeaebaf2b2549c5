//! The programs of the sites that use the crate: `examples/notes`, `examples/clubhouse` and `tests/site`.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use super::Database;
use super::server::{KEY, Server, Setting};

/// The program of a site, built at the first call.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let built = Command::new("script/example-site").output().expect("bash is installed");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        String::from_utf8(built.stdout).expect("a path").trim().into()
    });
    folder.join(name)
}

/// The settings of a site on an own database.
fn settings(database: &Database) -> [Setting<'_>; 3] {
    [("DATABASE_URL", &database.url), ("FRONTDESK_SECRET_KEYS", KEY), ("FRONTDESK_DRAIN", "0s")]
}

/// Starts a server of the site `name`. `Err` is its log if it did not start.
pub fn try_start(name: &str, database: &Database, more: &[Setting<'_>]) -> Result<Server, String> {
    Server::start_program(&program(name), &[&settings(database)[..], more].concat())
}

/// Starts a server of the site `name`.
pub fn start(name: &str, database: &Database, more: &[Setting<'_>]) -> Server {
    let server = try_start(name, database, more);
    server.unwrap_or_else(|log| panic!("the site did not start:\n{log}"))
}

/// Runs a command of the site `name`: its exit code, and what it printed.
pub fn run(
    name: &str,
    database: &Database,
    arguments: &[&str],
    more: &[Setting<'_>],
) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(program(name))
        .args(arguments)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        // A start that is expected to fail must not meet another server before.
        .env("FRONTDESK_BIND", "127.0.0.1:0")
        .envs([&settings(database)[..], more].concat())
        .output()
        .expect("the program runs");
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8(text).expect("UTF-8"))
}
