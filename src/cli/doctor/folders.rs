//! The operator's folders of templates, static files and messages.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::findings::{Findings, Verdict};
use crate::config::Config;
use crate::folder;

/// An attacker who can write files as the service user could change the pages at the next start.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    if !config.public_url.is_https() {
        return;
    }
    for folder in [&config.templates_dir, &config.static_dir, &config.locales_dir] {
        let Some(writable) = folder.as_deref().and_then(first_writable) else { continue };
        let message = format!(
            "{} is writable for the user that runs Frontdesk. Give the folder and all that it contains to another user, readable for this one.",
            writable.display()
        );
        findings.add(Verdict::Warning, "folders", message);
    }
}

/// The first file or folder that can be written, beginning with `path` itself. Hidden files are not read, and links lead to
/// others in the same folder.
fn first_writable(path: &Path) -> Option<PathBuf> {
    if access(path, Access::WRITE_OK).is_ok() {
        return Some(path.to_owned());
    }
    // A file has no entries. A folder that cannot be read has been reported as a problem of the settings.
    let entries = fs::read_dir(path).ok()?.flatten();
    entries
        .filter(|entry| !folder::is_hidden(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .filter(|path| !path.is_symlink())
        .find_map(|path| first_writable(&path))
}
