//! Folders for programs that run as another user: PostgreSQL and PgBouncer refuse to run as root.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The path of a folder with this name, which does not exist yet: leftovers of an earlier run are deleted. If
/// the current user is root and other users cannot enter the checkout, the path is in the temporary
/// directory. Otherwise Frontdesk would move its cluster to another place, where a test would not look for
/// it.
pub fn new_folder(name: &str) -> PathBuf {
    let folder = base().join(name);
    fs::remove_dir_all(&folder).ok();
    folder
}

fn base() -> PathBuf {
    let here = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let is_open = |folder: &Path| {
        fs::metadata(folder).is_ok_and(|found| found.permissions().mode() & 0o001 == 0o001)
    };
    if !rustix::process::geteuid().is_root() || here.ancestors().all(is_open) {
        return here.to_owned();
    }
    // One folder per checkout.
    let name = here.to_string_lossy().replace('/', "-");
    let outside = std::env::temp_dir().join(format!("frontdesk-tests{name}"));
    fs::create_dir_all(&outside).unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
    outside
}
