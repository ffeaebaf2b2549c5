//! Files that survive a power failure. A write is complete only after the file and the folder that names it are
//! synced to disk; a full disk may be reported as late as that, so every error of every step is returned.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Creates `path` with `mode`, writes `bytes` and syncs the file. Fails if the file exists. Removes the file when
/// it could not be written completely. The folder is not synced: see [`sync_folder`].
pub fn create(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        fs::remove_file(path).ok();
    }
    written
}

/// Creates `path` with `mode`, or replaces it. Readers see the old file or the new file, never a part of it.
/// `unfinished` is a new name in the same folder; no file of that name is left, unless the process is killed.
pub fn replace(path: &Path, unfinished: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    create(unfinished, mode, bytes)?;
    if let Err(error) = fs::rename(unfinished, path) {
        fs::remove_file(unfinished).ok();
        return Err(error);
    }
    sync_folder(parent(path))
}

/// Syncs the names in a folder: files that were created, renamed or removed in it. Some file systems cannot sync a
/// folder and answer EINVAL, which is ignored, as PostgreSQL does (`fsync_fname_ext`).
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Creates a folder with `mode`, and the folders above it. A folder that exists keeps its mode.
pub fn create_folder(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    create_folder(above, mode)?;
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        created => created?,
    }
    sync_folder(above)
}

/// The folder that names `path`.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
