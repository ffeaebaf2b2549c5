//! Reads a folder of files from disk: the templates, messages and static files of an operator.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The contents of files by their path, with `/` between its parts.
pub type Folder = BTreeMap<String, Cow<'static, [u8]>>;

/// Something wrong with a file of a site or an operator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileProblem {
    /// The file, as an operator or developer knows it.
    pub file: String,
    /// Its line, from 1.
    pub line: Option<usize>,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}: {}", self.file, self.message),
            None => write!(formatter, "{}: {}", self.file, self.message),
        }
    }
}

/// Files that replace those of Frontdesk by name, and add others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// The operator's folder and its files, which are the strongest layer.
    pub operator: Option<(PathBuf, Folder)>,
    /// The files of the site's crate.
    pub site: Folder,
    /// Their folder in the site's source code, if it is on this computer.
    pub site_source: Option<PathBuf>,
}

impl Layers {
    /// The files as they are on disk now.
    pub fn read_again(&self) -> Result<Self, Vec<String>> {
        let mut now = self.clone();
        if let Some((folder, files)) = &mut now.operator {
            *files = read(folder)?;
        }
        if let Some(folder) = now.site_source.as_ref().filter(|folder| folder.is_dir()) {
            now.site = read(folder)?;
        }
        Ok(now)
    }
}

/// The largest file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// The number of problems after which reading stops, because the folder may be `/`.
const MAX_PROBLEMS: usize = 10;

/// Whether files and folders with this name are skipped, as those of editors and version control are.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.') && name != ".well-known"
}

/// All files below `path`. Links are followed inside of it. The error lists what is wrong, each with its path.
pub fn read(path: &Path) -> Result<Folder, Vec<String>> {
    let mut reader = Reader::default();
    match fs::canonicalize(path) {
        Ok(root) if root.is_dir() => {
            reader.root = root.clone();
            reader.read_folder(path, root, "");
        }
        Ok(_) => reader.problem(path, "is not a folder"),
        Err(error) => reader.unreadable(path, &error),
    }
    if reader.problems.is_empty() { Ok(reader.files) } else { Err(reader.problems) }
}

#[derive(Default)]
struct Reader {
    /// Without links.
    root: PathBuf,
    /// The folder that is being read and those that contain it, without links.
    open: Vec<PathBuf>,
    files: Folder,
    problems: Vec<String>,
}

impl Reader {
    fn problem(&mut self, path: &Path, text: &str) {
        self.problems.push(format!("{} {text}.", path.display()));
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.problem(path, &format!("cannot be read ({error})"));
    }

    /// `path` for messages, `real` without links, `prefix` of the names of its files.
    fn read_folder(&mut self, path: &Path, real: PathBuf, prefix: &str) {
        let mut entries = Vec::new();
        match fs::read_dir(&real).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(found) => entries.extend(found.into_iter().map(|entry| entry.file_name())),
            Err(error) => self.unreadable(path, &error),
        }
        entries.sort();
        self.open.push(real);
        for name in entries {
            if self.problems.len() >= MAX_PROBLEMS {
                break;
            }
            let path = path.join(&name);
            match name.to_str() {
                Some(name) if is_hidden(name) => {}
                Some(name) => self.read_entry(&path, &format!("{prefix}{name}")),
                None => self.problem(&path, "has a name that is not UTF-8 text"),
            }
        }
        self.open.pop();
    }

    fn read_entry(&mut self, path: &Path, name: &str) {
        let (real, metadata) = match fs::canonicalize(path).and_then(|real| {
            let metadata = fs::metadata(&real)?;
            Ok((real, metadata))
        }) {
            Ok(found) => found,
            Err(error) => return self.unreadable(path, &error),
        };
        if !real.starts_with(&self.root) {
            let problem = format!(
                "is a link to {}, which is outside of the folder. Copy the file into it",
                real.display()
            );
            return self.problem(path, &problem);
        }
        if metadata.is_dir() {
            if self.open.contains(&real) {
                return self.problem(path, "is a link to a folder that contains it");
            }
            return self.read_folder(path, real, &format!("{name}/"));
        }
        if !metadata.is_file() {
            return self.problem(path, "is neither a file nor a folder");
        }
        match read_file(&real) {
            Ok(Some(bytes)) => {
                self.files.insert(name.to_owned(), Cow::Owned(bytes));
            }
            Ok(None) => {
                let problem = format!(
                    "has {} bytes, more than 1 MiB. Make it smaller, or serve it elsewhere",
                    metadata.len()
                );
                self.problem(path, &problem);
            }
            Err(error) => self.unreadable(path, &error),
        }
    }
}

/// `None`: it is too large.
fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_FILE).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn in_new_folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("folder-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("inside/deep")).unwrap();
        folder
    }

    #[test]
    fn files_are_read_with_the_links_inside_and_without_hidden_files() {
        let folder = in_new_folder("read");
        fs::write(folder.join("inside/deep/a.css"), "a {}").unwrap();
        fs::create_dir_all(folder.join("root/.well-known")).unwrap();
        fs::write(folder.join("root/.well-known/security.txt"), "Contact:").unwrap();
        fs::create_dir_all(folder.join(".git")).unwrap();
        fs::write(folder.join(".git/x"), "").unwrap();
        fs::write(folder.join("inside/.DS_Store"), "").unwrap();
        symlink("inside/deep", folder.join("again")).unwrap();
        symlink("inside/deep/a.css", folder.join("b.css")).unwrap();
        let files = read(&folder).unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["again/a.css", "b.css", "inside/deep/a.css", "root/.well-known/security.txt"]
        );
        assert_eq!(&*files["b.css"], b"a {}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn every_problem_names_the_path() {
        let folder = in_new_folder("problems");
        fs::write(folder.join("exact.txt"), vec![b'x'; MAX_FILE as usize]).unwrap();
        fs::write(folder.join("large.txt"), vec![b'x'; MAX_FILE as usize + 1]).unwrap();
        symlink("/etc/passwd", folder.join("inside/outside.txt")).unwrap();
        symlink("nowhere.txt", folder.join("dangling.txt")).unwrap();
        symlink("..", folder.join("inside/up")).unwrap();
        let problems = read(&folder).unwrap_err();
        let expected = [
            ("dangling.txt", "cannot be read"),
            ("inside/outside.txt", "is a link to /etc/passwd, which is outside"),
            ("inside/up", "is a link to a folder that contains it"),
            ("large.txt", "has 1048577 bytes, more than 1 MiB"),
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, (path, text)) in problems.iter().zip(expected) {
            let start = format!("{} {text}", folder.join(path).display());
            assert!(problem.starts_with(&start), "{problem}");
        }
        assert!(read(&folder.join("exact.txt")).unwrap_err()[0].contains("is not a folder"));
        assert!(read(&folder.join("nothing")).unwrap_err()[0].contains("cannot be read"));
        fs::remove_dir_all(folder).unwrap();
    }
}
