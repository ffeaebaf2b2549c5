//! Links in the documents lead to files, and the sources and tests that they name exist.

mod text;

use std::fs;
use std::path::{Path, PathBuf};

use text::files;

#[test]
fn links_in_documents_lead_somewhere() {
    let mut checked = 0;
    for document in files(".", &[".md"]) {
        let text = fs::read_to_string(&document).expect("a document");
        let folder = document.parent().expect("a folder");
        let markdown = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let html = ["src=\"", "srcset=\""]
            .into_iter()
            .flat_map(|name| text.split(name).skip(1).filter_map(|rest| rest.split('"').next()));
        for link in markdown.chain(html) {
            let path = link.split('#').next().expect("a first part");
            if path.is_empty() || path.contains("://") || path.contains(' ') {
                continue;
            }
            checked += 1;
            assert!(folder.join(path).exists(), "{}: {link} is not there", document.display());
        }
    }
    assert!(checked > 5, "only {checked} links were found");
}

#[test]
fn sources_that_documents_name_exist() {
    let mut checked = 0;
    let others = ["README.md", "CONTRIBUTING.md", "migrations/README.md"].map(PathBuf::from);
    for document in files("docs", &[".md"]).into_iter().chain(others) {
        let text = fs::read_to_string(&document).expect("a document");
        for name in text.split('`').skip(1).step_by(2) {
            let is_path =
                ["src/", "tests/", "templates/", "static/", "examples/", "bench", "migrations/"]
                    .iter()
                    .any(|folder| name.starts_with(folder));
            // Documents may leave out `src/`. CONTRIBUTING.md shows how to add the page `example`.
            let is_source = name.ends_with(".rs");
            let is_invented = Path::new(name).file_stem().is_some_and(|stem| stem == "example");
            if (is_path || is_source) && !is_invented && !name.contains(['*', ' ', '<']) {
                checked += 1;
                let exists = Path::new(name).exists() || Path::new("src").join(name).exists();
                assert!(exists, "{}: no file {name}", document.display());
            }
        }
    }
    assert!(checked > 5, "only {checked} paths were found");
}

#[test]
fn tests_that_documents_name_exist() {
    let sources: String = ["src", "tests"]
        .into_iter()
        .flat_map(|folder| files(folder, &[".rs"]))
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect();
    let text = fs::read_to_string("docs/SECURITY.md").expect("a document");
    let mut checked = 0;
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        for name in line.split('`').skip(1).step_by(2) {
            let is_test = name.matches('_').count() > 2
                && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
            if is_test {
                checked += 1;
                assert!(sources.contains(&format!("fn {name}(")), "no test {name}");
            }
        }
    }
    assert!(checked > 5, "only {checked} tests were found");
}
