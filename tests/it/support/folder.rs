//! Folders for programs that run as somebody else: PostgreSQL and PgBouncer refuse to be root.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A place for a folder of this name, without what an earlier run left there. In a checkout that others can not enter it
/// lies outside, where the program would put a cluster too, and where a test that reads it would not look.
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
    // One for each checkout.
    let name = here.to_string_lossy().replace('/', "-");
    let outside = std::env::temp_dir().join(format!("frontdesk-tests{name}"));
    fs::create_dir_all(&outside).unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
    outside
}
