//! Attempts to create the data folder that were interrupted by a kill.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use super::*;

/// The folders of unfinished attempts.
fn attempts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("database")).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains("/unfinished")).collect()
}

/// A fake PostgreSQL, newer than the installed one, whose `initdb` takes ten minutes. Returns the folder for
/// PATH.
fn slow_postgresql(folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    for (name, script) in [
        ("pg_config", format!("echo '{}'", folder.display())),
        ("postgres", "echo 'postgres (PostgreSQL) 99.0'".to_owned()),
        ("initdb", "sleep 600; exit 1".to_owned()),
    ] {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder.to_owned()
}

#[test]
fn a_kill_during_initdb_leaves_no_process_and_the_next_start_works() {
    let (folder, programs) = (folder("creation"), super::folder("creation-programs"));
    let path = std::env::var("PATH").unwrap();
    let mut creating = command(&folder, &["serve"])
        .env("FRONTDESK_BIND", "127.0.0.1:0")
        .env("PATH", format!("{}:{path}", slow_postgresql(&programs).display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let initdb = programs.join("initdb").display().to_string();
    let mut running = Vec::new();
    until("initdb runs", || {
        running = found(&["-f", &format!("^/bin/sh {initdb}")]);
        running.len() == 1 && !found(&["-P", &running[0].to_string()]).is_empty()
    });
    running.extend(found(&["-P", &running[0].to_string()]));
    creating.kill().unwrap();
    creating.wait().unwrap();
    until("nothing runs", || !running.iter().any(|pid| is_alive(*pid)));
    assert_eq!(attempts(&folder).len(), 1);

    let server = start(&folder);
    assert_eq!(server.browser().get("/readyz").status, 200);
    assert_eq!(attempts(&folder), Vec::<PathBuf>::new());
    clean(server, &folder);
    fs::remove_dir_all(&programs).ok();
}

#[test]
fn the_folder_of_an_attempt_is_removed_only_when_none_of_its_processes_is_alive() {
    let folder = folder("attempts");
    let used = folder.join("database/unfinished-used");
    fs::create_dir_all(&used).unwrap();
    let lock = fs::File::create(used.join("lock")).unwrap();
    lock.lock().unwrap();
    let mut server = start(&folder);
    assert_eq!(attempts(&folder), [used]);
    server.signal("TERM");
    server.ended();
    drop(lock);
    let server = start(&folder);
    assert_eq!(attempts(&folder), Vec::<PathBuf>::new());
    clean(server, &folder);
}
