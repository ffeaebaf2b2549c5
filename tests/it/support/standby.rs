//! A standby of a private PostgreSQL: a copy that replays what the primary writes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use frontdesk::db::cluster::Cluster;
use frontdesk::db::migrations;
use tokio::runtime::Runtime;

use super::breakpoint::until;
use super::folder::new_folder;
use super::proxy::Proxy;
use super::server::KEY;
use super::{Database, Server};

/// A running standby; ends with its owner.
pub struct Standby {
    server: Child,
    folder: PathBuf,
    /// Its database, by the same name as that of the primary.
    pub database: Database,
}

impl Standby {
    /// Copies `primary` into `folder` and replays from there.
    pub fn of(primary: &Cluster, folder: &Path) -> Self {
        let data = primary.data_dir().join("database/postgres");
        let owner = fs::metadata(&data).unwrap();
        fs::create_dir_all(folder).unwrap();
        std::os::unix::fs::chown(folder, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
        let pid_file = fs::read_to_string(data.join("postmaster.pid")).unwrap();
        let socket = pid_file.lines().nth(4).unwrap().to_owned();
        let postgres = format!("/proc/{}/exe", pid_file.lines().next().unwrap());
        let programs = fs::read_link(postgres).unwrap().parent().unwrap().to_owned();
        let command = |program: &str| {
            let mut command = Command::new(programs.join(program));
            command.current_dir("/").uid(owner.uid()).gid(owner.gid());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let copy = folder.join("data");
        let copied = command("pg_basebackup")
            .args(["--host", &socket, "--port", "5432", "--username", "frontdesk"])
            .args(["--write-recovery-conf", "--checkpoint=fast", "--pgdata"])
            .arg(&copy)
            .status()
            .unwrap();
        assert!(copied.success(), "pg_basebackup");
        let sockets = format!("unix_socket_directories={}", folder.display());
        let server = command("postgres")
            .arg("-D")
            .arg(&copy)
            .args(["-p", "5432", "-c", "listen_addresses=", "-c", "fsync=off", "-c", &sockets])
            .spawn()
            .unwrap();
        let host = percent_encoding::utf8_percent_encode(
            folder.to_str().unwrap(),
            percent_encoding::NON_ALPHANUMERIC,
        );
        let url = format!("postgres://frontdesk@localhost:5432/frontdesk?host={host}");
        let standby = Self { server, folder: folder.to_owned(), database: Database::connect(&url) };
        until(|| standby.accepts());
        standby
    }

    fn accepts(&self) -> bool {
        let asked = sqlx::query("SELECT 1").execute(&self.database.pool);
        self.database.runtime.block_on(asked).is_ok()
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.database.url
    }

    /// Waits until it knows all that the primary has committed, and lets it learn nothing more.
    pub fn db_pause_replay(&self, primary: &Database) {
        let position = "SELECT pg_current_wal_lsn()::text";
        let position = primary.db_texts(position).remove(0);
        let replayed =
            format!("SELECT (pg_last_wal_replay_lsn() >= '{position}'::pg_lsn)::int::bigint");
        until(|| self.database.db_count(&replayed) == 1);
        self.database.db_texts("SELECT pg_wal_replay_pause()::text");
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        Command::new("kill").args(["-QUIT", &self.server.id().to_string()]).status().ok();
        self.server.wait().ok();
    }
}

/// Ends the connections of pages, but not the one that hears notifications.
const END_PAGES: &str = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
                          WHERE application_name = 'frontdesk' AND datname = current_database()";

/// A primary, a standby of it, and a server that reaches them through a proxy.
pub struct Site {
    pub server: Server,
    pub proxy: Proxy,
    pub standby: Standby,
    pub primary: Database,
    postgresql: Option<Cluster>,
    runtime: Runtime,
}

impl Site {
    /// A server that trusts what it hears; `name` is for the folders.
    pub fn new(name: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = new_folder(&format!("primary-{name}"));
        let settings = [("fsync", "off")];
        let postgresql = runtime.block_on(Cluster::start_with(&folder, &settings)).unwrap();
        let primary = Database::connect(postgresql.url());
        primary.runtime.block_on(migrations::run(&primary.pool)).unwrap();
        let standby = Standby::of(&postgresql, &new_folder(&format!("standby-{name}")));
        let proxy = Proxy::start(primary.socket());
        let server = Server::start_with(&[
            ("DATABASE_URL", &primary.url_through(&proxy)),
            ("FRONTDESK_SECRET_KEYS", KEY),
        ]);
        let server = server.unwrap_or_else(|log| panic!("{log}")).until_live();
        Self { server, proxy, standby, primary, postgresql: Some(postgresql), runtime }
    }

    /// New connections lead to the standby, and those of pages are made again.
    pub fn fail_over(&self) {
        self.proxy.connect_to(self.standby.socket());
        self.primary.db_texts(END_PAGES);
    }

    /// New connections lead to the primary again.
    pub fn fail_back(&self) {
        self.proxy.connect_to(self.primary.socket());
    }

    /// What `/readyz` says.
    pub fn readyz(&self) -> String {
        self.server.browser().get("/readyz").body
    }

    /// The status of a page of the account with this cookie.
    pub fn profile_status(&self, cookie: &str) -> u16 {
        let mut browser = self.server.browser();
        browser.cookies.insert("session".to_owned(), cookie.to_owned());
        browser.get("/account/profile").status
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.child.kill().ok();
        if let Some(postgresql) = self.postgresql.take() {
            self.runtime.block_on(postgresql.stop()).ok();
        }
    }
}
