//! `frontdesk new`: the source code of a site. `script/generated-site` builds one and runs its tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::support::Database;
use crate::support::website::{program, run};

/// A new folder for the sites of one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new").join(name);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Exit code, standard output and standard error of `frontdesk new`.
fn new(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .arg("new")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Path and content of every file, without what Cargo and the site write.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if ["target", "Cargo.lock", ".env", ".frontdesk", ".git"].contains(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), text);
            }
        }
    }
    found
}

#[test]
fn the_notes_example_is_what_new_writes() {
    let folder = folder("notes");
    fs::write(folder.join("Cargo.toml"), "").unwrap();
    let (code, output, errors) = new(&folder, &["examples/notes", "--frontdesk-path", "."]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(output, "Created examples/notes. Next:\n\n  cd examples/notes && cargo run\n");
    let written = files(&folder.join("examples/notes"));
    let example = files(Path::new("examples/notes"));
    let names = |files: &BTreeMap<PathBuf, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&written), names(&example), "run script/notes");
    for (path, text) in &written {
        assert_eq!(*text, example[path], "{}: run script/notes", path.display());
        assert!(!text.contains("__package__") && !text.contains("__site_name__"), "{path:?}");
    }
    let lines = written[Path::new("src/main.rs")].lines().count();
    assert!(lines <= 80, "main.rs has {lines} lines");
}

/// The blocks of a document: what stands after the language, and the text.
fn blocks(document: &str) -> Vec<(String, String)> {
    let mut parts = document.split("\n```").skip(1);
    let mut found = Vec::new();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        let (language, text) = block.split_once('\n').expect("a text");
        let info = language.split_once(' ').map_or(language, |(_, info)| info);
        found.push((info.to_owned(), format!("{text}\n")));
    }
    found
}

/// Applies a block to a file: the whole file, or with `before:LINE` and `replace:LINE` a part of it.
fn apply(folder: &Path, info: &str, block: &str) {
    let (name, change) = info.split_once(' ').unwrap_or((info, ""));
    let path = folder.join(name);
    if change.is_empty() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        return fs::write(path, block).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let (verb, line) = change.split_once(':').expect("a line");
    let at = text.find(&format!("\n{line}")).expect("the line") + 1;
    let end = match (verb, line) {
        ("before", _) => at,
        // All lines that import something.
        ("replace", "use") => text
            .rfind("\nuse ")
            .map(|last| text[last + 1..].find('\n').unwrap() + last + 2)
            .unwrap(),
        ("replace", _) => at + text[at..].find("\n}\n").unwrap() + 3,
        _ => panic!("{info}"),
    };
    let gap = if verb == "before" { "\n" } else { "" };
    fs::write(path, format!("{}{block}{gap}{}", &text[..at], &text[end..])).unwrap();
}

#[test]
fn the_tutorial_leads_from_a_bare_site_to_the_notes_example() {
    program("notes");
    let (folder, began) = (folder("tutorial"), Instant::now());
    fs::write(folder.join("Cargo.toml"), "").unwrap();
    fs::create_dir(folder.join("examples")).unwrap();
    let path = ["--frontdesk-path", ".."];
    let (_, created, _) =
        new(&folder.join("examples"), &[&["notes", "--bare"], &path[..]].concat());
    let notes = folder.join("examples/notes");
    let document = fs::read_to_string("docs/TUTORIAL.md").unwrap();
    let (mut applied, mut shown) = (0, Vec::new());
    for (info, text) in blocks(&document) {
        match info.as_str() {
            "sh" => {}
            "console" => shown.push(text),
            _ => {
                apply(&notes, &info, &text);
                applied += 1;
            }
        }
    }
    assert!(applied > 8, "{applied} blocks");
    let (written, example) = (files(&notes), files(Path::new("examples/notes")));
    assert_eq!(written.keys().collect::<Vec<_>>(), example.keys().collect::<Vec<_>>());
    for (path, text) in &written {
        assert_eq!(*text, example[path], "{}", path.display());
    }
    // What the commands print.
    let routes = run("notes", &Database::empty(), &["routes"], &[]).1;
    assert_eq!(shown[0], format!("$ frontdesk new notes --bare\n{created}"));
    assert!(shown[1].starts_with("Site      http://"), "the first line of a server");
    assert_eq!(shown[2], format!("$ cargo run -- routes\n{routes}"));
    assert_eq!(shown.len(), 3);
    println!("the tutorial without its builds: {:?}", began.elapsed());
}

#[test]
fn a_bare_site_has_a_start_page_and_the_name_it_was_given() {
    let folder = folder("bare");
    let arguments = ["the-club", "--bare", "--name", r#"The "Lake" \ Club"#];
    let (code, _, errors) = new(&folder, &arguments);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let files = files(&folder.join("the-club"));
    let main = &files[Path::new("src/main.rs")];
    assert!(main.contains(r#"const NAME: &str = "The \"Lake\" \\ Club";"#), "{main}");
    assert!(files[Path::new("README.md")].contains(r#"# The "Lake" \ Club"#));
    assert!(files[Path::new("Cargo.toml")].contains("name = \"the-club\""));
    assert!(files[Path::new("tests/journey.rs")].contains("CARGO_BIN_EXE_the-club"));
    assert!(!files.keys().any(|path| path.starts_with("migrations")));
    // Without a name, the folder gives it.
    assert_eq!(new(&folder, &["my-site"]).0, Some(0));
    let main = fs::read_to_string(folder.join("my-site/src/main.rs")).unwrap();
    assert!(main.contains("\"My site\""), "{main}");
}

#[test]
fn new_never_overwrites_and_writes_nothing_if_an_argument_is_wrong() {
    let folder = folder("refused");
    fs::create_dir(folder.join("full")).unwrap();
    fs::write(folder.join("full/Cargo.toml"), "mine").unwrap();
    fs::write(folder.join("file"), "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("link")).unwrap();
    let long = "x".repeat(65);
    let before = files(&folder.join("full"));
    for (arguments, expected) in [
        (vec!["full"], "exists already; nothing was written"),
        (vec!["file"], "exists already"),
        (vec!["link"], "exists already"),
        (vec!["My Site"], "Try: frontdesk new my-site"),
        (vec!["deep/9lives"], "Try: frontdesk new deep/site-9lives"),
        (vec!["fn"], "it is reserved. Try: frontdesk new fn-site"),
        (vec!["frontdesk"], "Try: frontdesk new frontdesk-site"),
        (vec![".."], "has no name for the package"),
        (vec!["site", "--name", " "], "1 to 64 characters"),
        (vec!["site", "--name", &long], "1 to 64 characters"),
        (vec!["site", "--name", "a\nb"], "no line breaks"),
        (vec!["site", "--frontdesk-path", "full/none"], "is not the source code of Frontdesk"),
    ] {
        let (code, output, errors) = new(&folder, &arguments);
        assert_eq!((code, output.as_str()), (Some(2), ""), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
    assert_eq!(files(&folder.join("full")), before);
    let left: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    // A repository that has no files yet is empty.
    fs::create_dir_all(folder.join("repository/.git")).unwrap();
    assert_eq!(new(&folder, &["repository"]).0, Some(0));
}

#[test]
fn the_program_of_a_site_has_no_new() {
    let database = Database::empty();
    let (code, text) = run("notes", &database, &["new", "x"], &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("unrecognized subcommand 'new'"), "{text}");
    let (_, help) = run("notes", &database, &["help"], &[]);
    assert!(help.contains("migrate") && !help.contains("Create the source code"), "{help}");
}
