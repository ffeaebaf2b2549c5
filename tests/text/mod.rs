//! Finds text files, for the tests that read the sources and documents as text.

use std::fs;
use std::path::PathBuf;

/// Folders that are not part of the project.
const SKIPPED: [&str; 5] = ["node_modules", "target", ".git", ".frontdesk", ".venv"];

/// Every file at or below `root` whose name ends with one of `endings`, sorted.
pub fn files(root: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut paths = vec![PathBuf::from(root)];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            if !SKIPPED.iter().any(|name| path.ends_with(name)) {
                let entries = fs::read_dir(&path).expect("a readable folder");
                paths.extend(entries.map(|entry| entry.expect("a folder entry").path()));
            }
        } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}
