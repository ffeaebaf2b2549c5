//! Writes files that survive a power failure. A write is complete only after the file and its folder are
//! synced to disk. A full disk may be reported only by the sync, so the errors of all steps are returned.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Creates `path` with `mode`, writes `bytes` and syncs the file. Fails if the file exists. Removes the file
/// if it cannot be written completely. Does not sync the folder: see [`sync_folder`].
pub fn create(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        fs::remove_file(path).ok();
    }
    written
}

/// Creates `path` with `mode`, or replaces it. Readers see the old file or the new file, never a part of it.
/// `temporary` is the path of a file in the same folder that does not exist. It is left behind only if the
/// process is killed.
pub fn replace(path: &Path, temporary: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    create(temporary, mode, bytes)?;
    if let Err(error) = fs::rename(temporary, path) {
        fs::remove_file(temporary).ok();
        return Err(error);
    }
    sync_folder(parent(path))
}

/// Syncs the entries of a folder, so that created, renamed and removed files survive a power failure. Some
/// file systems cannot sync a folder and return EINVAL, which is ignored, as in PostgreSQL
/// (`fsync_fname_ext`).
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Creates a folder and its missing parents with `mode`. A folder that exists keeps its mode.
pub fn create_folder(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if path.exists() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder"));
    }
    let parent = parent(path);
    create_folder(parent, mode)?;
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        created => created?,
    }
    sync_folder(parent)
}

/// The folder of `path`; `.` for a plain file name.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
