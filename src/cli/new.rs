//! `frontdesk new`: writes the source code of a site. The files are in `starter/`; three tokens in them are replaced.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Parser;
use rust_embed::RustEmbed;

use super::exit::ExitStatus;
use super::out;
use crate::program;

/// Cargo leaves folders with a `Cargo.toml` out of packages, and Git obeys a `.gitignore`. So these files have this
/// ending in `starter/`.
const ENDING: &str = ".starter";
const MAX_SITE_NAME: usize = 64;
/// Names that Cargo refuses for programs, keywords, and the libraries that a new site uses.
const RESERVED: [&str; 59] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "frontdesk",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "serde_json",
    "sqlx",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "type",
    "unsafe",
    "use",
    "where",
    "while",
];

#[derive(RustEmbed)]
#[folder = "starter/"]
struct Starter;

/// Create the source code of a site with accounts
#[derive(Debug, Parser)]
#[command(
    name = "new",
    after_help = "Examples:\n  frontdesk new my-site\n  frontdesk new my-site --name \"The Lake Club\" --bare"
)]
pub(super) struct New {
    /// The folder to create; its name is also that of the package
    path: PathBuf,
    /// Name of the site, at most 64 characters [default: the name of the folder, as words]
    #[arg(long)]
    name: Option<String>,
    /// Only a start page, without the notes
    #[arg(long)]
    bare: bool,
    /// Depend on the source code of Frontdesk in this folder [default: the one that this program was built from]
    #[arg(long, value_name = "PATH")]
    frontdesk_path: Option<PathBuf>,
}

/// Why nothing was written. Each is a problem of the arguments.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0} has no name for the package. Name the folder: {program} new my-site", program = program::name())]
    NoName(String),
    #[error("{name:?} cannot be the name of a package: {why}. Try: {program} new {proposal}", program = program::name())]
    PackageName { name: String, why: &'static str, proposal: String },
    #[error("The name of a site has 1 to {MAX_SITE_NAME} characters, and no line breaks.")]
    SiteName,
    #[error("{0} exists already; nothing was written. Choose another folder.")]
    Exists(String),
    #[error(
        "The source code that this program was built from is gone. Name its folder: {program} new my-site --frontdesk-path PATH",
        program = program::name()
    )]
    NoSource,
    #[error("{0} is not the source code of Frontdesk: it has no Cargo.toml.")]
    NotFrontdesk(String),
}

pub(super) fn run(arguments: &New) -> anyhow::Result<ExitStatus> {
    match create(arguments) {
        Err(error) if error.is::<Refused>() => {
            out::problem(&error.to_string());
            Ok(ExitStatus::InvalidUsage)
        }
        Err(error) => Err(error),
        Ok(()) => {
            let path = arguments.path.display();
            out::line(&format!("Created {path}. Next:\n\n  cd {path} && cargo run"));
            Ok(ExitStatus::Done)
        }
    }
}

fn create(arguments: &New) -> anyhow::Result<()> {
    let target = std::path::absolute(&arguments.path)
        .with_context(|| format!("{} cannot be created", arguments.path.display()))?;
    let no_name = || Refused::NoName(arguments.path.display().to_string());
    let package = target.file_name().ok_or_else(no_name)?.to_string_lossy().into_owned();
    check_package_name(&arguments.path, &package)?;
    let site_name = arguments.name.clone().unwrap_or_else(|| as_words(&package));
    let site_name = site_name.trim();
    let length = site_name.chars().count();
    if !(1..=MAX_SITE_NAME).contains(&length) || site_name.chars().any(char::is_control) {
        return Err(Refused::SiteName.into());
    }
    let dependency = dependency(arguments, &target)?;
    require_new(&target)?;
    let files = files(arguments.bare).map(|(path, text)| {
        let text = text.replace("__package__", &package).replace("__dependency__", &dependency);
        let name = if path.ends_with(".rs") { escaped(site_name) } else { site_name.to_owned() };
        (path, text.replace("__site_name__", &name))
    });
    write(&target, files)
}

/// Path and text of each file: those of every site, and those of this kind.
fn files(bare: bool) -> impl Iterator<Item = (String, String)> {
    let of_kind = if bare { "bare/" } else { "notes/" };
    Starter::iter().filter_map(move |name| {
        let path = name.strip_prefix("common/").or_else(|| name.strip_prefix(of_kind))?;
        let path = path.strip_suffix(ENDING).unwrap_or(path).to_owned();
        let text = String::from_utf8_lossy(&Starter::get(&name)?.data).into_owned();
        Some((path, text))
    })
}

/// Writes the files into a new or empty folder. If one cannot be written, those before it are deleted.
fn write(target: &Path, files: impl Iterator<Item = (String, String)>) -> anyhow::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    let is_ours = fs::create_dir(target).is_ok();
    let mut written = Vec::new();
    for (name, text) in files {
        let path = target.join(&name);
        if let Err(error) = write_file(&path, &text) {
            if is_ours {
                fs::remove_dir_all(target).ok();
            } else {
                written.iter().for_each(|path: &PathBuf| drop(fs::remove_file(path)));
            }
            return Err(anyhow!("{} cannot be written: {error}", path.display()));
        }
        written.push(path);
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create_new(path)?.write_all(text.as_bytes())
}

/// Fails unless the folder is missing or empty. A repository that was created before is empty too.
fn require_new(target: &Path) -> anyhow::Result<()> {
    let exists = || Refused::Exists(target.display().to_string());
    match fs::read_dir(target) {
        Ok(mut entries) => {
            let is_other = |entry: io::Result<fs::DirEntry>| {
                entry.map_or(true, |entry| entry.file_name() != ".git")
            };
            if entries.any(is_other) { Err(exists().into()) } else { Ok(()) }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !target.is_symlink() => Ok(()),
        Err(_) if fs::symlink_metadata(target).is_ok() => Err(exists().into()),
        Err(error) => Err(anyhow!("{} cannot be created: {error}", target.display())),
    }
}

fn check_package_name(path: &Path, name: &str) -> Result<(), Refused> {
    let is_allowed = |letter: char| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '_')
    };
    let why = if RESERVED.contains(&name) {
        "it is reserved"
    } else if !name.chars().all(is_allowed) {
        "it has other characters than lower-case letters, digits, - and _"
    } else if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        "it does not begin with a letter"
    } else {
        return Ok(());
    };
    let proposal = path.with_file_name(proposal(name)).display().to_string();
    Err(Refused::PackageName { name: name.to_owned(), why, proposal })
}

/// A package name that is allowed and similar to `name`.
fn proposal(name: &str) -> String {
    let letters = name.chars().map(|letter| match letter.to_ascii_lowercase() {
        letter if letter.is_ascii_lowercase() || letter.is_ascii_digit() => letter,
        '_' => '_',
        _ => ' ',
    });
    let words: String = letters.collect();
    let joined = words.split_whitespace().collect::<Vec<_>>().join("-");
    let joined = joined.trim_matches('_');
    match joined.chars().next() {
        None => "my-site".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("site-{joined}"),
        Some(_) if RESERVED.contains(&joined) => format!("{joined}-site"),
        Some(_) => joined.to_owned(),
    }
}

/// `My site` for `my-site`.
fn as_words(package: &str) -> String {
    let words = package.replace(['-', '_'], " ");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut letters = words.chars();
    let first: String =
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().collect();
    let name = first + letters.as_str();
    name.chars().take(MAX_SITE_NAME).collect()
}

/// As the content of a string literal in Rust.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"")
}

/// How the package depends on Frontdesk: by the folder of its source code. Not by a version: the crate is not on crates.io,
/// where anyone could take its name.
fn dependency(arguments: &New, target: &Path) -> anyhow::Result<String> {
    let path = match &arguments.frontdesk_path {
        Some(path) => {
            if !path.join("Cargo.toml").is_file() {
                return Err(Refused::NotFrontdesk(path.display().to_string()).into());
            }
            let absolute = std::path::absolute(path)?;
            if path.is_absolute() { absolute } else { relative(&absolute, target) }
        }
        None => source_code().map(Path::to_owned).ok_or(Refused::NoSource)?,
    };
    Ok(format!("path = \"{}\"", escaped(&path.display().to_string())))
}

/// The source code that this program was built from, if it is still there and not Cargo's copy, which Cargo may delete.
fn source_code() -> Option<&'static Path> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_source = path.join("starter").is_dir() && !path.join(".cargo-ok").exists();
    is_source.then_some(path)
}

/// The way from the folder `from` to `to`; both are absolute.
fn relative(to: &Path, from: &Path) -> PathBuf {
    let parts = |path: &Path| {
        let mut parts = Vec::new();
        for part in path.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => drop(parts.pop()),
                part => parts.push(part.as_os_str().to_string_lossy().into_owned()),
            }
        }
        parts
    };
    let (to, from) = (parts(to), parts(from));
    let common = to.iter().zip(&from).take_while(|(one, other)| one == other).count();
    let up = (common..from.len()).map(|_| "..".to_owned());
    up.chain(to[common..].iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_name_that_cargo_refuses_gets_a_proposal_that_it_accepts() {
        for (name, proposed) in [
            ("My Site!", "my-site"),
            ("9lives", "site-9lives"),
            ("test", "test-site"),
            ("frontdesk", "frontdesk-site"),
            ("-x", "x"),
            ("Ünïcode", "n-code"),
            ("日本", "my-site"),
            ("a.b", "a-b"),
        ] {
            let refused = check_package_name(Path::new("sites").join(name).as_path(), name);
            let Err(Refused::PackageName { proposal, .. }) = refused else { panic!("{name}") };
            assert_eq!(proposal, format!("sites/{proposed}"));
            assert!(check_package_name(Path::new(proposed), proposed).is_ok(), "{proposed}");
        }
        assert!(check_package_name(Path::new("my-site_2"), "my-site_2").is_ok());
    }

    #[test]
    fn names_and_paths_are_written_for_people_and_for_cargo() {
        assert_eq!(as_words("my-lake_club"), "My lake club");
        assert_eq!(escaped(r#"A "b" \ c"#), r#"A \"b\" \\ c"#);
        let relative = relative(Path::new("/a/b"), Path::new("/a/b/examples/notes"));
        assert_eq!(relative, Path::new("../.."));
        assert_eq!(super::relative(Path::new("/a/b"), Path::new("/a/c")), Path::new("../b"));
    }
}
