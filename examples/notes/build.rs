//! Builds the program again when an embedded file is added, changed or removed.

use std::path::Path;

fn main() {
    let folders = ["templates", "static", "migrations", "locales"];
    // Cargo would take a folder that does not exist for a changed one, at each build. If it is told of no folder, it
    // watches all files of the package.
    if folders.iter().all(|folder| Path::new(folder).is_dir()) {
        for folder in folders {
            println!("cargo:rerun-if-changed={folder}");
        }
    }
}
