//! A standby of a private PostgreSQL: a copy that replays what the primary writes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use frontdesk::db::cluster::Cluster;

use super::Database;
use super::kill::until;

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
        let standby = Self { server, folder: folder.to_owned(), database: Database::at(&url) };
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
    pub fn db_fall_behind(&self, primary: &Database) {
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
