//! Finds the programs of PostgreSQL in the folders of Debian, Fedora and Homebrew, and in the search path.

use std::fs;
use std::path::{Path, PathBuf};

use super::child;

/// The oldest supported major version.
const MIN_VERSION: u32 = 15;

/// The folder with `initdb` and `postgres` of one major version.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    /// The programs of `version`, or of the newest version installed.
    pub(super) fn find(version: Option<u32>) -> Option<Self> {
        all()
            .into_iter()
            .filter(|found| version.is_none_or(|version| version == found.major))
            .max_by_key(|found| found.major)
    }

    /// The installed major versions, for an error message.
    pub(super) fn versions() -> String {
        let majors: Vec<String> = all().iter().map(|found| found.major.to_string()).collect();
        majors.join(", ")
    }

    /// The path of a program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn all() -> Vec<Binaries> {
    let mut folders = Vec::new();
    for (parent, prefix, subfolder) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/opt/homebrew/opt", "postgresql", "bin"),
        ("/usr/local/opt", "postgresql", "bin"),
    ] {
        let Ok(entries) = fs::read_dir(parent) else {
            continue;
        };
        let matching = entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        folders.extend(matching.map(|entry| entry.path().join(subfolder)));
    }
    // Only `config` reads the environment, so the search path is left to the system: `pg_config` is run from
    // it.
    if let Ok(output) = child::command("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    folders.push(PathBuf::from("/usr/bin"));
    let mut found: Vec<Binaries> = folders.into_iter().filter_map(|folder| read(&folder)).collect();
    found.sort_by_key(|found| found.major);
    found.dedup_by_key(|found| found.major);
    found
}

/// The programs in `folder`, if both exist and the version is supported.
fn read(folder: &Path) -> Option<Binaries> {
    let postgres = folder.join("postgres");
    if !postgres.is_file() || !folder.join("initdb").is_file() {
        return None;
    }
    // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    let output = child::command(&postgres).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_once("(PostgreSQL) ")?.1;
    let major: u32 =
        number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()?;
    (major >= MIN_VERSION).then(|| Binaries { folder: folder.to_owned(), major })
}
