//! The operator's folders of templates, static files and messages.

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

/// The first file or folder in `root` that can be written, `root` itself included.
fn first_writable(root: &Path) -> Option<PathBuf> {
    let is_writable = |path: &Path| access(path, Access::WRITE_OK).is_ok();
    // A folder that cannot be read has been reported as a problem of the settings.
    let files = folder::read(root).unwrap_or_default();
    let mut paths = vec![root.to_owned()];
    for name in files.keys() {
        let file = root.join(name);
        let folders = file.ancestors().skip(1).take_while(|folder| *folder != root);
        paths.extend(folders.map(Path::to_owned));
        paths.push(file);
    }
    paths.into_iter().find(|path| is_writable(path))
}
