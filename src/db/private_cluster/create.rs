//! Creates the database files. Each attempt works in a new folder, which is renamed to the data folder of
//! PostgreSQL when it is complete, so that a killed attempt leaves no partial data there.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use uuid::Uuid;

use super::binaries::Binaries;
use super::data_folder::{DataFolder, NAME};
use super::error::{ClusterError, io_error};
use super::wrapper;
use crate::durable;

/// Prefix of the folder names of attempts.
const ATTEMPT_PREFIX: &str = "unfinished";
/// A file in the folder of each attempt. It is locked as long as a process of the attempt is running.
const LOCK: &str = "lock";

/// Runs `initdb` and creates the database. The caller must hold the lock of the data folder.
pub(super) async fn create(folder: &DataFolder, binaries: &Binaries) -> Result<(), ClusterError> {
    let attempt = folder.cluster().join(format!("{ATTEMPT_PREFIX}-{}", Uuid::new_v4()));
    folder.owner.create_folder(&attempt)?;
    let created = create_in(&attempt, folder, binaries).await;
    let removed = fs::remove_dir_all(&attempt);
    created?;
    removed.map_err(|error| {
        io_error("an unfinished database folder cannot be removed", &attempt, error)
    })
}

async fn create_in(
    attempt: &Path,
    folder: &DataFolder,
    binaries: &Binaries,
) -> Result<(), ClusterError> {
    let path = attempt.join(LOCK);
    let failed =
        |error| io_error("an attempt to create the database cannot be locked", &path, error);
    let lock = File::create_new(&path).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let data = attempt.join("data");
    let data_path = data.display().to_string();
    for (program, name, input, arguments) in [
        (
            "initdb",
            "initdb",
            String::new(),
            // Trust authentication is safe because only users with access to the folder reach the socket.
            ["-D", &data_path, "-U", NAME, "-E", "UTF8", "--locale=C", "--auth=trust"].as_slice(),
        ),
        (
            "postgres --single",
            "postgres",
            format!("CREATE DATABASE {NAME}\n"),
            ["--single", "-D", &data_path, "postgres"].as_slice(),
        ),
    ] {
        let result =
            wrapper::run(folder.owner, &lock, &input, &binaries.program(name), arguments).await;
        let output = match result {
            Ok(Ok(())) => continue,
            Ok(Err(output)) => output,
            Err(error) => error.to_string(),
        };
        return Err(ClusterError::ProgramFailed { program, output });
    }
    let finished = folder.data();
    fs::rename(&data, &finished)
        .and_then(|()| durable::sync_folder(&folder.cluster()))
        .map_err(|error| io_error("the new database folder cannot be renamed", &finished, error))
}

/// Removes the folders of killed attempts. A folder whose lock is held belongs to a running attempt and is
/// kept. The caller must hold the lock of the data folder.
pub(super) fn remove_unfinished(folder: &DataFolder) -> Result<(), ClusterError> {
    let cluster = folder.cluster();
    let failed = |error| io_error("unfinished database folders cannot be removed", &cluster, error);
    for entry in fs::read_dir(&cluster).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with(ATTEMPT_PREFIX)
            || is_used(&entry.path())
        {
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
    // If the file does not exist, the attempt ended before it started a program.
    File::open(attempt.join(LOCK))
        .is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
}
