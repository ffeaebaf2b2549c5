//! Builds the program again when an embedded file is added, changed or removed.

fn main() {
    for folder in ["templates", "static", "migrations", "locales", "broken"] {
        println!("cargo:rerun-if-changed={folder}");
    }
}
