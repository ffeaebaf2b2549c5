//! Processes named by PostgreSQL's lock files: a start stops the PostgreSQL that a former run has left on the
//! same data, and no other process.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use sqlx::{Connection as _, PgConnection};

use super::*;
use crate::support::PASSWORD;

/// Copies `folder` with `cp -a`, again if `cp` fails because the running server has deleted a file meanwhile.
fn copied(folder: &Path, name: &str) -> PathBuf {
    for _ in 0..5 {
        let copy = super::folder(name);
        if Command::new("cp").arg("-a").args([folder, &copy]).status().unwrap().success() {
            return copy;
        }
    }
    panic!("{} cannot be copied", folder.display());
}

fn url(folder: &Path) -> String {
    let host = folder.join("database").display().to_string().replace('/', "%2F");
    format!("postgres://frontdesk@localhost:5432/frontdesk?host={host}")
}

#[test]
fn a_copy_of_a_data_folder_in_use_runs_beside_the_original() {
    let original_folder = folder("original");
    let original = start(&original_folder);
    let mut ada = registered(&original, "ada@example.com");
    let pid = postmaster(&original_folder).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut connection = runtime.block_on(PgConnection::connect(&url(&original_folder))).unwrap();
    let copy_folder = copied(&original_folder, "copy");
    assert_eq!(postmaster(&copy_folder), Some(pid), "the copied file names the original");

    let began = Instant::now();
    let copy = start(&copy_folder);
    println!("the copy started in {:?}", began.elapsed());
    let copy_pid = postmaster(&copy_folder).unwrap();
    assert_ne!(copy_pid, pid);
    assert!(ada.clone().on_server(&copy.addr).is_signed_in(), "the copy has Ada's session");
    registered(&copy, "bob@example.com");
    let users = |folder: &Path| output_of(&mut command(folder, &["user", "list"]));
    assert!(users(&copy_folder).contains("bob@example.com"));
    assert!(!users(&original_folder).contains("bob@example.com"));

    assert_eq!(postmaster(&original_folder), Some(pid));
    runtime.block_on(connection.ping()).expect("the connection from before the copy");
    assert!(ada.is_signed_in());
    assert!(!original.log().contains("is down"), "{}", original.log());

    // A command on the copy does not reach the original either if no server runs on the copy.
    drop(copy);
    until_gone(copy_pid);
    for name in ["postgres/postmaster.pid", ".s.PGSQL.5432.lock", ".s.PGSQL.5432"] {
        let (from, to) = (original_folder.join("database"), copy_folder.join("database"));
        let copied = Command::new("cp").arg("-a").args([from.join(name), to.join(name)]).status();
        assert!(copied.unwrap().success());
    }
    registered(&original, "carol@example.com");
    let listed = users(&copy_folder);
    assert!(listed.contains("bob@") && !listed.contains("carol@"), "{listed}");
    assert_eq!(postmaster(&original_folder), Some(pid));
    runtime.block_on(connection.ping()).expect("the same connection");
    assert!(ada.is_signed_in());
    clean(original, &original_folder);
    fs::remove_dir_all(&copy_folder).ok();
}

#[test]
fn a_command_on_a_copy_does_not_connect_to_the_original_through_a_linked_socket() {
    let original_folder = folder("linked-original");
    let original = start(&original_folder);
    let copy_folder = copied(&original_folder, "linked-copy");
    let socket = "database/.s.PGSQL.5432";
    fs::remove_file(copy_folder.join(socket)).unwrap();
    fs::hard_link(original_folder.join(socket), copy_folder.join(socket)).unwrap();
    // While the lock of the copy is held, a command waits for the server of the copy.
    let lock = fs::File::options().write(true).open(copy_folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let mut waiting =
        command(&copy_folder, &["user", "create", "eve@example.com", "--name", "Eve"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
    std::io::Write::write_all(&mut waiting.stdin.take().unwrap(), PASSWORD.as_bytes()).unwrap();
    let polls = |pid: u32| {
        let read = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let calls = read.lines().find_map(|line| line.strip_prefix("syscr: ")).unwrap_or("0");
        calls.parse::<u64>().unwrap()
    };
    // After about a hundred reads of PostgreSQL's lock file, the command has seen the socket and still waits.
    until("the command waits", || {
        polls(waiting.id()) > 300 || waiting.try_wait().unwrap().is_some()
    });
    assert!(waiting.try_wait().unwrap().is_none(), "the command connected to the original");
    drop(lock);
    assert!(waiting.wait().unwrap().success());
    let users = |folder: &Path| output_of(&mut command(folder, &["user", "list"]));
    assert!(!users(&original_folder).contains("eve@"));
    assert!(users(&copy_folder).contains("eve@"));
    clean(original, &original_folder);
    fs::remove_dir_all(&copy_folder).ok();
}

#[test]
fn a_stale_lock_file_never_harms_a_process_that_reuses_its_pid() {
    let (mine, other_folder) = (folder("stale"), folder("stale-other"));
    let other = start(&other_folder);
    let mut ada = registered(&other, "ada@example.com");
    let foreign = postmaster(&other_folder).unwrap();
    let server = start(&mine);
    let data = mine.join("database/postgres");
    let files = [data.join("postmaster.pid"), mine.join("database/.s.PGSQL.5432.lock")];
    let texts = files.clone().map(|file| fs::read_to_string(file).unwrap());
    let own = postmaster(&mine).unwrap();
    drop(server);
    until_gone(own);

    // These processes run as PostgreSQL's user, so a start may signal them; one has the data folder as its
    // working directory.
    let owner = fs::metadata(&data).unwrap();
    let mut sleeping: Vec<_> = [Path::new("/"), &data]
        .map(|place| {
            let mut sleep = Command::new("sleep");
            if rustix::process::geteuid().is_root() {
                sleep.uid(owner.uid()).gid(owner.gid());
            }
            sleep.arg("600").current_dir(place).spawn().unwrap()
        })
        .into_iter()
        .collect();
    let asleep = sleeping.iter().map(|child| child.id());
    for pid in asleep.chain([foreign, std::process::id()]) {
        for (file, text) in files.iter().zip(&texts) {
            let (_, rest) = text.split_once('\n').unwrap();
            fs::write(file, format!("{pid}\n{rest}")).unwrap();
        }
        let server = start(&mine);
        assert_eq!(server.browser().get("/readyz").status, 200);
        assert!(is_alive(pid));
        let own = postmaster(&mine).unwrap();
        drop(server);
        until_gone(own);
    }
    // A crash of the machine can leave empty files.
    files.iter().for_each(|file| fs::write(file, "").unwrap());
    clean(start(&mine), &mine);
    for child in &mut sleeping {
        assert!(child.try_wait().unwrap().is_none(), "{child:?} was signaled");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(postmaster(&other_folder), Some(foreign));
    assert!(ada.is_signed_in());
    assert!(!other.log().contains("is down"), "{}", other.log());
    clean(other, &other_folder);
}

#[test]
fn a_postgresql_left_by_a_former_run_is_stopped_before_another_is_started() {
    let folder = folder("left-behind");
    let is_root = rustix::process::geteuid().is_root();
    // Root in a container lacks CAP_SYS_PTRACE and may not inspect the processes of other users.
    let restricted = ["setpriv", "--bounding-set=-sys_ptrace"].as_slice();
    for wrapper in [[].as_slice(), restricted].into_iter().filter(|it| it.is_empty() || is_root) {
        let mut server = start(&folder);
        let left = postmaster(&folder).unwrap();
        // A paused server does not notice that the shells are killed.
        server.signal("STOP");
        shells(left).into_iter().for_each(|pid| signal(pid, "KILL"));
        server.signal("KILL");
        server.ended();
        assert!(is_alive(left), "PostgreSQL still runs");
        let program = env!("CARGO_BIN_EXE_frontdesk");
        let words = [wrapper, &[program, "user", "list"]].concat();
        let mut next = Command::new(words[0]);
        let listed = output_of(configure(&mut next, &folder).args(&words[1..]));
        assert!(
            listed.contains("stopping a PostgreSQL that an earlier process left running"),
            "{listed}"
        );
        assert!(!is_alive(left));
    }
    fs::remove_dir_all(&folder).ok();
}

#[test]
fn a_server_whose_data_folder_was_moved_does_not_touch_the_folder_in_its_place() {
    let (here, there) = (folder("moved"), folder("moved-away"));
    let old = start(&here);
    let old_pid = postmaster(&here).unwrap();
    fs::rename(&here, &there).unwrap();
    let new = start(&here);
    let mut ada = registered(&new, "ada@example.com");
    let new_pid = postmaster(&here).unwrap();
    signal(old_pid, "KILL");
    until("the old server notices the move", || old.log().contains("was moved or replaced"));
    drop(old);
    until_gone(old_pid);
    assert_eq!(postmaster(&here), Some(new_pid));
    assert!(ada.is_signed_in());
    assert!(!new.log().contains("is down"), "{}", new.log());
    clean(new, &here);
    fs::remove_dir_all(&there).ok();
}
