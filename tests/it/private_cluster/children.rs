//! Child processes and files: their environment, owner and mode.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::support::server::KEY;

/// The programs below `/proc` whose environment contains `marker`, and all whose command line contains `folder`.
fn scan(folder: &str, marker: &str, own: u32, seen: &mut BTreeMap<u32, (String, bool)>) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let read = |name: &str| {
            let bytes = fs::read(entry.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        // In this order: between fork and exec, a child is a copy of the server.
        let arguments = read("cmdline");
        let environment = read("environ");
        // While a process is being replaced by exec, its arguments are empty and its environment is still the old one.
        let is_starting = arguments.is_empty() || arguments.trim_end().ends_with("/frontdesk");
        if pid == own || is_starting {
            continue;
        }
        let has_marker = environment.contains(marker);
        if arguments.contains(folder) || has_marker {
            seen.entry(pid)
                .and_modify(|found| found.1 |= has_marker)
                .or_insert((arguments, has_marker));
        }
    }
}

#[test]
fn no_child_process_has_a_secret_in_its_environment() {
    let folder = folder("environment");
    let (marker, done) = ("hunter2-of-the-environment", AtomicBool::new(false));
    let seen = std::thread::scope(|scope| {
        let (path, done) = (folder.to_str().unwrap().to_owned(), &done);
        let scanning = scope.spawn(move || {
            let mut seen = BTreeMap::new();
            while !done.load(Ordering::Relaxed) {
                scan(&path, marker, std::process::id(), &mut seen);
            }
            seen
        });
        let server = Server::start_with(&[
            ("FRONTDESK_DATA_DIR", folder.to_str().unwrap()),
            ("FRONTDESK_SECRET_KEYS", KEY),
            ("FRONTDESK_SMTP_URL", &format!("smtps://desk:{marker}@127.0.0.1:1")),
            ("FRONTDESK_MAIL_FROM", "desk@example.com"),
        ]);
        let server = server.unwrap_or_else(|log| panic!("{log}"));
        assert_eq!(server.browser().get("/readyz").status, 200);
        done.store(true, Ordering::Relaxed);
        let seen = scanning.join().unwrap();
        clean(server, &folder);
        seen
    });
    for program in ["initdb", "--single", "postgres -D", "frontdesk-postgres"] {
        let found = seen.values().any(|(arguments, _)| arguments.contains(program));
        assert!(found, "{program} was not seen in {seen:#?}");
    }
    let leaking: Vec<_> = seen.values().filter(|(_, has_marker)| *has_marker).collect();
    assert!(leaking.is_empty(), "{leaking:#?}");
}

#[test]
fn files_and_folders_have_their_mode_whatever_the_umask_is() {
    for umask in ["000", "077"] {
        let folder = folder(&format!("umask-{umask}")).join("inner");
        let mut serving = Command::new("sh");
        let script = format!("umask {umask}; exec {} serve", env!("CARGO_BIN_EXE_frontdesk"));
        let mut child = configure(&mut serving, &folder)
            .args(["-c", &script])
            .env("FRONTDESK_BIND", "127.0.0.1:0")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        until("the key is there", || {
            folder.join("secret-keys").exists() && folder.join("postgres.log").exists()
        });
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let is_root = rustix::process::getuid().is_root();
        let expected = if is_root { 0o711 } else { 0o700 };
        for path in [folder.clone(), folder.parent().unwrap().to_owned()] {
            assert_eq!(mode(path.clone()), expected, "{} with {umask}", path.display());
        }
        assert_eq!(mode(folder.join("database")), 0o700, "{umask}");
        for name in ["secret-keys", "postgres.log", "lock"] {
            assert_eq!(mode(folder.join(name)) & 0o077, 0, "{name} with {umask}");
        }
        let pid = postmaster(&folder);
        signal(child.id(), "KILL");
        child.wait().unwrap();
        pid.map(until_gone);
        fs::remove_dir_all(folder.parent().unwrap()).ok();
    }
}

#[test]
fn a_key_file_of_another_user_and_a_folder_that_all_users_can_write_to_are_refused() {
    let folder = folder("foreign-key");
    let server = start(&folder);
    let pid = postmaster(&folder);
    drop(server);
    pid.map(until_gone);
    let refusal = || {
        let data_dir = [("FRONTDESK_DATA_DIR", folder.to_str().unwrap())];
        Server::start_with(&data_dir).err().expect("it must not start")
    };
    let mode = fs::metadata(&folder).unwrap().permissions();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let error = refusal();
    assert!(error.contains("chmod o-w"), "{error}");
    fs::set_permissions(&folder, mode).unwrap();
    let key = folder.join("secret-keys");
    // Only root can give a file to another user.
    if std::os::unix::fs::chown(&key, Some(65_534), None).is_ok()
        && fs::metadata(&key).unwrap().uid() == 65_534
    {
        let error = refusal();
        assert!(error.contains("belongs to another user"), "{error}");
    }
    fs::remove_dir_all(&folder).ok();
}

#[test]
fn a_command_neither_creates_a_private_database_nor_hides_that_it_uses_one() {
    let folder = folder("commands");
    let missing = command(&folder, &["user", "list"]).output().unwrap();
    let error = String::from_utf8(missing.stderr).unwrap();
    assert!(!missing.status.success() && error.contains("no private database"), "{error}");
    assert!(error.contains("DATABASE_URL"), "{error}");
    assert!(!folder.exists(), "nothing was created");
    let server = start(&folder);
    let listed = command(&folder, &["user", "list"]).output().unwrap();
    let error = String::from_utf8(listed.stderr).unwrap();
    assert!(listed.status.success(), "{error}");
    assert!(error.contains(folder.to_str().unwrap()), "{error}");
    let settings = [("FRONTDESK_PUBLIC_URL", "https://desk.example.com")];
    let report = command(&folder, &["doctor"]).envs(settings).output().unwrap();
    let report = String::from_utf8(report.stdout).unwrap();
    assert!(report.contains("the database is the private one"), "{report}");
    clean(server, &folder);
}
