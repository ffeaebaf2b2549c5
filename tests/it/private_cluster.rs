//! The private PostgreSQL that a server runs if no DATABASE_URL is set.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::folder::new_folder;
use crate::support::smtp::until;
use crate::support::{Browser, Server, registered};

mod children;
mod creation;
mod former;
mod supervision;

fn folder(name: &str) -> PathBuf {
    new_folder(&format!("site-{name}-{}", std::process::id()))
}

fn start(folder: &Path) -> Server {
    Server::start_with(&[("FRONTDESK_DATA_DIR", folder.to_str().unwrap())])
        .unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
}

fn postmaster(folder: &Path) -> Option<u32> {
    let text = fs::read_to_string(folder.join("database/postgres/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok()
}

/// True if the process runs; a zombie does not.
fn is_alive(pid: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    output.stdout.first().is_some_and(|state| *state != b'Z')
}

fn until_gone(pid: u32) -> Duration {
    let began = Instant::now();
    while is_alive(pid) {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "PostgreSQL still runs after 20 seconds"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.unwrap().success(), "{name} to {pid}");
}

/// The processes that `pgrep` finds.
fn found(arguments: &[&str]) -> Vec<u32> {
    let output = Command::new("pgrep").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// The supervising shells that would stop this postmaster: the rest of its process group.
fn shells(postmaster: u32) -> Vec<u32> {
    let output = Command::new("ps").args(["-o", "pgid=", "-p", &postmaster.to_string()]).output();
    let group = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut members = found(&["-g", group.trim()]);
    members.retain(|pid| *pid != postmaster);
    assert!(members.len() >= 2, "{members:?}");
    members
}

/// Waits until a postmaster other than `former` runs and the server is ready; returns its pid.
fn until_restarted(server: &Server, folder: &Path, former: u32) -> u32 {
    until("another PostgreSQL serves", || {
        postmaster(folder).is_some_and(|pid| pid != former)
            && server.browser().get("/readyz").status == 200
    });
    postmaster(folder).unwrap()
}

/// The command `frontdesk …` on the private database of `folder`.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_frontdesk"));
    configure(&mut command, folder).args(arguments);
    command
}

fn configure<'c>(command: &'c mut Command, folder: &Path) -> &'c mut Command {
    command
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("FRONTDESK_DATA_DIR", folder)
}

fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, error) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{out}{error}");
    out + &error
}

/// Stops the server and its PostgreSQL, and removes the folder.
fn clean(server: Server, folder: &Path) {
    let pid = postmaster(folder);
    drop(server);
    pid.map(until_gone);
    fs::remove_dir_all(folder).ok();
}

#[test]
fn users_and_sessions_survive_restarts_and_kills_and_no_postgresql_is_left_running() {
    let folder = folder("restart");
    let mut server = start(&folder);
    let mut ada = registered(&server, "ada@example.com");
    let first = postmaster(&folder).unwrap();
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0), "{}", server.log());
    assert!(!is_alive(first), "PostgreSQL is stopped before the server exits");

    for kill in ["frontdesk", "postgresql"] {
        let mut server = start(&folder);
        ada = ada.on_server(&server.addr);
        assert!(ada.is_signed_in());
        let second = postmaster(&folder).unwrap();
        if kill == "frontdesk" {
            server.signal("KILL");
            server.ended();
        } else {
            Command::new("kill").args(["-KILL", &second.to_string()]).status().unwrap();
        }
        println!("{kill} killed: PostgreSQL was gone after {:?}", until_gone(second));
    }
    let began = Instant::now();
    let mut server = start(&folder);
    println!("started again in {:?}", began.elapsed());
    assert!(ada.on_server(&server.addr).is_signed_in());
    server.signal("INT");
    assert_eq!(server.ended(), Some(0));
    fs::remove_dir_all(&folder).ok();
}

#[test]
fn two_data_folders_run_separate_postgresql_servers() {
    let (left, right) = (folder("left"), folder("right ünd / long ".replace('/', "-").as_str()));
    let (one, two) = (start(&left), start(&right));
    registered(&one, "ada@example.com");
    registered(&two, "ada@example.com");
    assert_ne!(postmaster(&left), postmaster(&right));
    drop((one, two));
    for folder in [left, right] {
        if let Some(pid) = postmaster(&folder) {
            until_gone(pid);
        }
        fs::remove_dir_all(&folder).ok();
    }
}

#[test]
fn a_second_server_on_the_same_data_folder_exits_with_a_helpful_message() {
    let folder = folder("twice");
    let first = start(&folder);
    let log =
        Server::start_with(&[("FRONTDESK_DATA_DIR", folder.to_str().unwrap())]).err().unwrap();
    assert!(
        log.contains("Another Frontdesk is already running") && log.contains("DATABASE_URL"),
        "{log}"
    );
    assert_eq!(Browser::new(&first.addr).get("/readyz").status, 200);
    drop(first);
    if let Some(pid) = postmaster(&folder) {
        until_gone(pid);
    }
    fs::remove_dir_all(&folder).ok();
}

#[test]
fn an_interrupted_creation_of_the_database_is_started_again() {
    let folder = folder("halfway");
    fs::create_dir_all(folder.join("database/unfinished")).unwrap();
    fs::write(folder.join("database/unfinished/PG_VERSION"), "15").unwrap();
    let server = start(&folder);
    assert_eq!(server.browser().get("/readyz").status, 200);
    assert!(!folder.join("database/unfinished").exists());
    drop(server);
    if let Some(pid) = postmaster(&folder) {
        until_gone(pid);
    }
    fs::remove_dir_all(&folder).ok();
}

#[test]
fn the_private_postgresql_is_not_reachable_by_network_or_by_other_users() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder("closed");
    let server = start(&folder);
    let mode = fs::metadata(folder.join("database")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let keys = fs::metadata(folder.join("secret-keys")).unwrap().permissions().mode();
    assert_eq!(keys & 0o777, 0o600);
    let options = fs::read_to_string(folder.join("database/postgres/postmaster.opts")).unwrap();
    assert!(options.contains("listen_addresses="), "{options}");
    drop(server);
    if let Some(pid) = postmaster(&folder) {
        until_gone(pid);
    }
    fs::remove_dir_all(&folder).ok();
}
