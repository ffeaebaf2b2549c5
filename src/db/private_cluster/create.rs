//! Creating the data. Each attempt has a folder of its own; only a finished one is renamed to its place, so that an
//! attempt that was killed leaves no unfinished data there.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use uuid::Uuid;

use super::binaries::Binaries;
use super::error::{ClusterError, files};
use super::keeper;
use super::place::{NAME, Place, own_folder};
use crate::durable;

/// What the names of the folders begin with.
const UNFINISHED: &str = "unfinished";
/// A file in each. It stays locked as long as a process of the attempt is alive.
const LOCK: &str = "lock";

/// Runs `initdb` and creates the database. Needs the lock of the place.
pub(super) async fn create(place: &Place, binaries: &Binaries) -> Result<(), ClusterError> {
    let attempt = place.cluster().join(format!("{UNFINISHED}-{}", Uuid::new_v4()));
    own_folder(&attempt, place.owner)?;
    let created = create_in(&attempt, place, binaries).await;
    let removed = fs::remove_dir_all(&attempt);
    created?;
    removed
        .map_err(|error| files("an unfinished database folder cannot be removed", &attempt, error))
}

async fn create_in(attempt: &Path, place: &Place, binaries: &Binaries) -> Result<(), ClusterError> {
    let path = attempt.join(LOCK);
    let failed = |error| files("an attempt to create the database cannot be locked", &path, error);
    let lock = File::create_new(&path).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let data = attempt.join("data");
    let folder = data.display().to_string();
    for (program, name, input, arguments) in [
        (
            "initdb",
            "initdb",
            String::new(),
            // Trust authentication: only users who may enter the folder reach the socket.
            ["-D", &folder, "-U", NAME, "-E", "UTF8", "--locale=C", "--auth=trust"].as_slice(),
        ),
        (
            "postgres --single",
            "postgres",
            format!("CREATE DATABASE {NAME}\n"),
            ["--single", "-D", &folder, "postgres"].as_slice(),
        ),
    ] {
        let ran = keeper::run(place.owner, &lock, &input, &binaries.program(name), arguments).await;
        let words = match ran {
            Ok(Ok(())) => continue,
            Ok(Err(words)) => words,
            Err(error) => error.to_string(),
        };
        return Err(ClusterError::Program { program, words });
    }
    let finished = place.data();
    fs::rename(&data, &finished)
        .and_then(|()| durable::sync_folder(&place.cluster()))
        .map_err(|error| files("the new database folder cannot be put in place", &finished, error))
}

/// Removes the folders of attempts that were killed. A folder whose lock is held still has a running process and is kept.
/// Needs the lock of the place.
pub(super) fn remove_unfinished(place: &Place) -> Result<(), ClusterError> {
    let cluster = place.cluster();
    let failed = |error| files("unfinished database folders cannot be removed", &cluster, error);
    for entry in fs::read_dir(&cluster).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) || is_used(&entry.path()) {
            continue;
        }
        match fs::remove_dir_all(entry.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}

fn is_used(attempt: &Path) -> bool {
    // Without the file the attempt ended before it started a program.
    File::open(attempt.join(LOCK))
        .is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
}
