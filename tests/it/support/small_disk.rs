//! A file system of a few kilobytes, to test what happens when the disk is full.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted tmpfs; unmounted when dropped.
pub struct SmallDisk {
    pub folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one. `None` where this process may not mount: the reason is printed, and the test is to be skipped.
    pub fn mount(name: &str) -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        Command::new("umount").arg(&folder).output().ok();
        fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k,mode=0755", "tmpfs"])
            .arg(&folder)
            .output()
            .expect("mount is installed");
        if !mounted.status.success() {
            let reason = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
            // Past the capture of the test harness, so that a run that passes shows it.
            let skipped = "SKIPPED: a test of a full disk has to mount a tmpfs, as root";
            let mut errors = std::io::stderr().lock();
            writeln!(errors, "{skipped}: {reason}").unwrap();
            return None;
        }
        Some(Self { folder })
    }

    /// Writes a file until no byte is left.
    pub fn fill(&self) {
        let mut filler = fs::File::create(self.folder.join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        while filler.write_all(&[0]).is_ok() {}
    }

    /// Removes that file.
    pub fn free_space(&self) {
        fs::remove_file(self.folder.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.folder).status().ok();
    }
}
