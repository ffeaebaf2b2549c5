//! The PostgreSQL that a site runs by itself when it is given none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::folder::new_folder;
use crate::support::{Browser, Server, registered};

fn folder(name: &str) -> PathBuf {
    new_folder(&format!("site-{name}-{}", std::process::id()))
}

fn start(folder: &Path) -> Server {
    Server::start_bare(&[("FRONTDESK_DATA_DIR", folder.to_str().unwrap())])
        .unwrap_or_else(|log| panic!("it did not start:\n{log}"))
}

fn postmaster(folder: &Path) -> Option<u32> {
    let text = fs::read_to_string(folder.join("database/postgres/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Command::new("kill")
        .args(["-0", &pid.to_string()])
        .status()
        .is_ok_and(|status| status.success())
}

fn until_gone(pid: u32) -> Duration {
    let began = Instant::now();
    while is_alive(pid) {
        assert!(began.elapsed() < Duration::from_secs(20), "PostgreSQL is an orphan");
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

#[test]
fn people_and_sessions_survive_a_restart_and_a_kill_and_no_postgresql_is_left_behind() {
    let folder = folder("restart");
    let mut server = start(&folder);
    let mut ada = registered(&server, "ada@example.com");
    let first = postmaster(&folder).unwrap();
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0), "{}", server.log());
    assert!(!is_alive(first), "stopped before we ended");

    for kill in ["frontdesk", "postgresql"] {
        let mut server = start(&folder);
        ada = ada.at(&server.address);
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
    assert!(ada.at(&server.address).is_signed_in());
    server.signal("INT");
    assert_eq!(server.ended(), Some(0));
    fs::remove_dir_all(&folder).ok();
}

#[test]
fn two_checkouts_side_by_side_do_not_meet() {
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
fn a_second_site_on_the_same_folder_is_told_what_to_do() {
    let folder = folder("twice");
    let first = start(&folder);
    let said =
        Server::start_bare(&[("FRONTDESK_DATA_DIR", folder.to_str().unwrap())]).err().unwrap();
    assert!(
        said.contains("Another Frontdesk is already running") && said.contains("DATABASE_URL"),
        "{said}"
    );
    assert_eq!(Browser::new(&first.address).get("/readyz").status, 200);
    drop(first);
    if let Some(pid) = postmaster(&folder) {
        until_gone(pid);
    }
    fs::remove_dir_all(&folder).ok();
}

#[test]
fn a_creation_that_was_killed_is_made_anew() {
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
fn nobody_reaches_it_by_the_network_or_past_the_folder() {
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
