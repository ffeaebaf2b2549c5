//! The settings of the program under test.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use crate::config::{Config, KeyRequirement, Program};

/// The key of test servers without another `FRONTDESK_SECRET_KEYS`.
const KEY: &str = "wQ8nT2xJ5vL1cR7mZ4kB9pF3hS6dG0yAeUiOqWtXrNlMzPbV";
/// Variables of the environment that the program inherits. Settings are not among them.
const INHERITED: [&str; 6] =
    ["PATH", "HOME", "TMPDIR", "TZ", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];

/// The settings of a server, beside its database.
#[derive(Clone)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// The defaults of tests, and `own` in addition.
    pub(super) fn new(own: &[(&str, &str)]) -> Self {
        let defaults = [
            ("FRONTDESK_BIND", "127.0.0.1:0"),
            ("FRONTDESK_SECRET_KEYS", KEY),
            // A test that stops a server does not wait for load balancers.
            ("FRONTDESK_DRAIN", "0s"),
        ];
        let all = defaults.iter().chain(own);
        Self(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// The same settings with this database.
    pub(super) fn with_database(&self, url: &str) -> Self {
        let mut all = self.0.clone();
        all.insert("DATABASE_URL".to_owned(), url.to_owned());
        Self(all)
    }

    /// Names and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }

    /// The names of the schemas, which differ between templates of databases.
    pub(super) fn schemas(&self) -> String {
        let names = ["FRONTDESK_SCHEMA", "FRONTDESK_SITE_SCHEMA"];
        let values = names.map(|name| self.0.get(name).map_or("", String::as_str));
        values.join(" ")
    }

    /// The settings as the program reads them.
    pub(super) fn config(&self) -> Config {
        let program = Program { site_name: None, is_website: true };
        let read = Config::read(&self.0, KeyRequirement::Required, program);
        read.unwrap_or_else(|problems| panic!("the settings of the test: {problems}"))
    }
}

/// What the program inherits from the environment of the tests.
pub(super) fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}

/// The PostgreSQL of `TEST_DATABASE_URL`.
pub(super) fn test_database_url() -> Option<String> {
    std::env::var("TEST_DATABASE_URL").ok().filter(|url| !url.is_empty())
}

/// Where tests of this program keep their files: beside it, below `target/`.
pub(super) fn folder(program: &Path) -> std::path::PathBuf {
    let beside = program.parent().unwrap_or(Path::new("."));
    beside.join("frontdesk-testing")
}
