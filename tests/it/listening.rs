//! Where a server listens, what it answers while it waits for its start, and the unit files.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::breakpoint::until;
use crate::support::folder::new_folder;
use crate::support::port::{free_addr, free_port};
use crate::support::server::KEY;
use crate::support::{Browser, Database, PASSWORD, Server, raw};

const READY: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn over_socket(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn a_server_listens_on_several_addresses_and_on_a_unix_socket() {
    let database = Database::new();
    let folder = new_folder("listening");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("http.sock");
    // A killed process leaves its socket behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let second = free_addr();
    let bind = format!("127.0.0.1:0,{second},unix:{}", path.display());
    let settings = [("FRONTDESK_BIND", bind.as_str()), ("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1")];
    let server = Server::start(&database, &settings);
    assert_eq!(server.browser().get("/login").status, 200);
    assert_eq!(Browser::new(&second).get("/login").status, 200);
    let body =
        format!("email=ada%40example.com&display_name=Ada&password={PASSWORD}").replace(' ', "+");
    let response = over_socket(
        &path,
        &format!(
            "POST /register HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.7\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    assert!(response.starts_with("HTTP/1.1 303"), "{response}");
    let addresses = database.db_texts("SELECT host(ip_address) FROM sessions");
    assert_eq!(addresses, ["203.0.113.7"]);
    // The address of another server is not taken over.
    let error = Server::start_with(&[
        ("DATABASE_URL", &database.server_url),
        ("FRONTDESK_SECRET_KEYS", KEY),
        ("FRONTDESK_BIND", &format!("unix:{}", path.display())),
    ])
    .err()
    .expect("the socket is in use");
    assert!(error.to_lowercase().contains("cannot listen on unix:"), "{error}");
    server.stop();
    assert!(!path.exists());
}

#[test]
fn a_server_listens_on_all_ipv4_and_all_ipv6_addresses_with_one_port() {
    let database = Database::new();
    let port = free_port();
    for bind in [format!("127.0.0.1:{port},[::]:{port}"), format!("[::]:{port},127.0.0.1:{port}")] {
        let server = Server::start(&database, &[("FRONTDESK_BIND", &bind)]);
        for addr in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            assert_eq!(raw(&addr, READY).unwrap().status, 200, "{bind}: {addr}");
        }
        server.stop();
    }
    // Alone, it accepts both.
    let server = Server::start(&database, &[("FRONTDESK_BIND", &format!("[::]:{port}"))]);
    assert_eq!(raw(&format!("127.0.0.1:{port}"), READY).unwrap().status, 200);
    server.stop();
}

/// Whether the process ignores SIGHUP.
fn ignores_hangup(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1
}

#[test]
fn a_server_started_with_nohup_ignores_the_hangup() {
    let database = Database::new();
    let addr = free_addr();
    let child = Command::new("nohup")
        .arg(env!("CARGO_BIN_EXE_frontdesk"))
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs([
            ("DATABASE_URL", database.server_url.as_str()),
            ("FRONTDESK_SECRET_KEYS", KEY),
            ("FRONTDESK_BIND", &addr),
            ("FRONTDESK_DRAIN", "0s"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Running(child);
    until(|| raw(&addr, READY).is_ok_and(|response| response.status == 200));
    let pid = child.0.id();
    assert!(ignores_hangup(pid));
    let kill = |name: &str| Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
    assert!(kill("-HUP").success());
    assert_eq!(raw(&addr, READY).unwrap().status, 200);
    assert!(kill("-TERM").success());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_socket_of_systemd_is_used_instead_of_the_setting() {
    let database = Database::new();
    let addr = free_addr();
    let child = Command::new("systemd-socket-activate")
        .args(["-l", &addr])
        .args(["-E", &format!("DATABASE_URL={}", database.server_url)])
        .args(["-E", &format!("FRONTDESK_SECRET_KEYS={KEY}")])
        .args(["-E", "FRONTDESK_BIND=127.0.0.1:1"])
        .arg(env!("CARGO_BIN_EXE_frontdesk"))
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("systemd is installed (script/bootstrap --test)");
    let _child = Running(child);
    // The first connection starts the program.
    until(|| raw(&addr, READY).is_ok_and(|response| response.status == 200));
}

#[test]
fn a_server_that_waits_for_the_migration_lock_says_so_and_can_be_stopped() {
    // The lock of src/db/migration_lock.rs.
    assert_waits_for(&Database::empty(), 7_382_085_259_403_488_617);
}

#[test]
fn a_server_that_starts_while_sqlx_migrates_says_so_and_can_be_stopped() {
    let database = Database::empty();
    let name = database.db_texts("SELECT current_database()::text").remove(0);
    assert_waits_for(&database, 0x3d32_ad9e * i64::from(crc32fast::hash(name.as_bytes())));
}

fn assert_waits_for(database: &Database, lock: i64) {
    let _held = database.db_begin(&format!("SELECT pg_advisory_lock({lock})"));
    let addr = free_addr();
    let folder = new_folder("waiting");
    fs::create_dir_all(&folder).unwrap();
    let log = folder.join("log");
    let mut child = Running(
        Command::new(env!("CARGO_BIN_EXE_frontdesk"))
            .current_dir(&folder)
            .env_clear()
            .envs([
                ("DATABASE_URL", database.url.as_str()),
                ("FRONTDESK_SECRET_KEYS", KEY),
                ("FRONTDESK_BIND", &addr),
            ])
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap(),
    );
    until(|| raw(&addr, READY).is_ok_and(|response| response.body.contains("it is held by")));
    let mut browser = Browser::new(&addr);
    let ready = browser.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("\"waiting_for\":\"waiting for the migration lock"), "{ready:?}");
    assert_eq!(browser.get("/healthz").status, 200);
    let page = browser.get("/login");
    assert_eq!(page.status, 503);
    assert!(page.body.contains("<html") && page.header("retry-after").is_some(), "{page:?}");
    assert!(page.header("content-security-policy").is_some(), "{page:?}");
    until(|| {
        let text = fs::read_to_string(&log).unwrap();
        text.contains("waiting for the migration lock for")
            && text.contains("it is held by PostgreSQL process")
    });
    let pid = child.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let mut ended = None;
    until(|| {
        ended = child.0.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0), "{}", fs::read_to_string(&log).unwrap());
}

#[test]
fn the_settings_of_a_file_are_taken_as_written_and_kubernetes_variables_are_ignored() {
    let database = Database::new();
    let folder = new_folder("env-file");
    fs::create_dir_all(&folder).unwrap();
    let start = |file: &str| {
        fs::write(folder.join(".env"), file).unwrap();
        let addr = free_addr();
        let child = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
            .current_dir(&folder)
            .env_clear()
            .envs([
                ("DATABASE_URL", database.server_url.as_str()),
                ("FRONTDESK_SECRET_KEYS", KEY),
                ("FRONTDESK_BIND", &addr),
                ("FRONTDESK_PORT", "tcp://10.96.0.7:8080"),
                ("FRONTDESK_SERVICE_HOST", "10.96.0.7"),
                ("FRONTDESK_SERVICE_PORT_HTTP", "8080"),
                ("FRONTDESK_PORT_8080_TCP_ADDR", "10.96.0.7"),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        (child, addr)
    };
    let (child, addr) = start("\u{feff}FRONTDESK_SITE_NAME=Pay$Desk\r\nFRONTDESK_DRAIN=0s\r\n");
    let _child = Running(child);
    until(|| raw(&addr, READY).is_ok_and(|response| response.status == 200));
    assert!(Browser::new(&addr).get("/login").body.contains("Pay$Desk"));
    let (child, _) = start("FRONTDESK_DRAIN=0s\nFRONTDESK_SITE_NAME=hunter2 desk\n");
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("Line 2 of .env") && !text.contains("hunter2"), "{text}");
}

#[test]
fn the_systemd_unit_is_hardened() {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/systemd/frontdesk.service"))
        .output()
        .expect("systemd is installed (script/bootstrap --test)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("Overall exposure level"), "{text}");
}
