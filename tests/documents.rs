//! Links in the documents lead to files, and the sources and tests that they name exist.

#[path = "golden/fields.rs"]
mod fields;
mod golden;
mod stable;
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
                // The tutorial builds the notes example.
                let roots = ["", "src", "examples/notes"].map(Path::new);
                let exists = roots.iter().any(|root| root.join(name).exists());
                assert!(exists, "{}: no file {name}", document.display());
            }
        }
    }
    assert!(checked > 5, "only {checked} paths were found");
}

/// Cargo packages only what `include` of Cargo.toml lists, and a site builds the crate from the package.
#[test]
fn files_that_the_sources_include_are_in_the_package() {
    let manifest = fs::read_to_string("Cargo.toml").expect("the manifest");
    let list = manifest.split_once("\ninclude = [").expect("a list of files").1;
    let list = list.split_once(']').expect("the end of the list").0;
    let packaged: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let root = fs::canonicalize(".").expect("the root folder");
    let mut checked = 0;
    // The unit tests are not run from the package.
    let is_shipped = |source: &PathBuf| !source.ends_with("tests.rs");
    for source in files("src", &[".rs"]).into_iter().filter(is_shipped) {
        let text = fs::read_to_string(&source).expect("a source");
        let folder = source.parent().expect("a folder");
        for call in ["include_str!(\"", "include_bytes!(\""] {
            for included in text.split(call).skip(1).filter_map(|rest| rest.split('"').next()) {
                checked += 1;
                let file = fs::canonicalize(folder.join(included)).expect(included);
                let path = format!(
                    "/{}",
                    file.strip_prefix(&root).expect("a file of the crate").display()
                );
                let is_packaged = packaged
                    .iter()
                    .any(|entry| *entry == path || entry.ends_with('/') && path.starts_with(entry));
                assert!(is_packaged, "{}: {path} is not in the package", source.display());
            }
        }
    }
    assert!(checked > 5, "only {checked} included files were found");
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
                && name
                    .bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit());
            if is_test {
                checked += 1;
                assert!(sources.contains(&format!("fn {name}(")), "no test {name}");
            }
        }
    }
    assert!(checked > 5, "only {checked} tests were found");
}

/// The rows of the table below `## Requirements` in docs/SECURITY.md: id and the cell with the tests.
fn requirements(document: &str) -> Vec<(&str, &str)> {
    let section = document.split("\n## Requirements\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("a first part");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.skip(1)
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            assert_eq!(cells.len(), 3, "a row has three cells: {row}");
            (cells[0], cells[2])
        })
        .collect()
}

#[test]
fn every_requirement_names_its_tests_or_is_known_to_have_none() {
    /// All rows, so that none is removed unnoticed.
    const ROWS: usize = 148;
    const WITHOUT_TEST: [&str; 19] = [
        // There is no second factor.
        "V6.3.3",
        "V6.4.3",
        "V6.4.4",
        "V6.5.1",
        "V6.5.6",
        "V6.5.8",
        "V6.7.2",
        "V7.5.3",
        "N-4 (3.1.2.2)",
        "N-5 (3.1.4)",
        "N-6 (4.2)",
        "N-8 (4.1.2)",
        "N-14 (2.2.2)",
        "CS-M1",
        // There are no pages for administrators.
        "V8.4.2",
        // Decided otherwise, or done by the proxy.
        "V3.4.7",
        "V4.1.2",
        "V1.2.10",
        "CS-C1",
    ];
    let document = fs::read_to_string("docs/SECURITY.md").expect("a document");
    let rows = requirements(&document);
    assert_eq!(rows.len(), ROWS);
    let ids: std::collections::BTreeSet<&str> = rows.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), ROWS, "an id is repeated");
    for (id, tests) in rows {
        let reason = tests.strip_prefix("none: ");
        assert_eq!(
            reason.is_some(),
            WITHOUT_TEST.contains(&id),
            "{id}: name a test, or say “none: ” with the reason and add the id to WITHOUT_TEST"
        );
        match reason {
            Some(reason) => assert!(reason.len() > 20, "{id}: why has it no test?"),
            // That they exist is tested above.
            None => assert!(tests.starts_with('`') && tests.contains('_'), "{id}: {tests}"),
        }
    }
}

#[test]
fn every_way_to_a_session_is_in_the_document() {
    let document = fs::read_to_string("docs/SECURITY.md").expect("a document");
    let section = document.split("\n## Ways in\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("a first part");
    let mut checked = 0;
    for path in files("src/pages", &[".rs"]) {
        let text = fs::read_to_string(&path).expect("a source");
        if text.contains("auth::sign_in(") || text.contains("sign_in_new_account(") {
            checked += 1;
            let name = path.strip_prefix("src").expect("below src").display().to_string();
            assert!(section.contains(&format!("`{name}`")), "{name} signs in and is not listed");
        }
    }
    assert!(checked > 3, "only {checked} pages sign in");
}
