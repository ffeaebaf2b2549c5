//! The files of a site's crate: templates, static files and migrations. The macro `frontdesk::embed!()` makes
//! them part of the program.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::migrate::{Migration, MigrationType};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use crate::folder;
use crate::language;
use crate::templates::{self, Folder, Layers};

/// The files of a site's crate, which [`embed!`](crate::embed) finds.
///
/// ```
/// let of_this_crate = frontdesk::embed!();
/// let none = frontdesk::Embedded::none();
/// ```
#[derive(Default)]
pub struct Embedded {
    is_website: bool,
    /// The version of the crate.
    pub(crate) version: &'static str,
    /// `templates/`.
    pub(crate) templates: Folder,
    /// Where `templates/` is on the computer that built the program; `None` in a release build.
    pub(crate) templates_source: Option<&'static str>,
    /// `locales/`.
    pub(crate) locales: Folder,
    /// `static/`.
    #[doc(hidden)]
    pub assets: Folder,
    /// `migrations/`.
    pub(crate) migrations: Folder,
}

/// A file in `migrations/` that is no migration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MigrationFileError {
    /// Its name has another form.
    #[error(
        "migrations/{0} is not named like 20261201000001_notes.up.sql (a number, a description, and .up.sql, .down.sql or .sql)."
    )]
    Name(String),
    /// It is not text.
    #[error("migrations/{0} is not UTF-8 text.")]
    Text(String),
    /// Two files with one number.
    #[error("migrations/{0} has the number of another migration.")]
    Repeated(String),
}

impl Embedded {
    /// No files: the program `frontdesk`.
    pub fn none() -> Self {
        Self::default()
    }

    /// The files of a website.
    #[doc(hidden)]
    pub fn new(templates: Folder, assets: Folder, migrations: Folder) -> Self {
        Self {
            is_website: true,
            version: "",
            templates,
            templates_source: None,
            locales: Folder::new(),
            assets,
            migrations,
        }
    }

    /// The same files, of a crate with this version.
    #[doc(hidden)]
    #[must_use]
    pub fn with_version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    /// The same, with the folder of its templates.
    #[doc(hidden)]
    #[must_use]
    pub fn with_templates_source(self, folder: Option<&'static str>) -> Self {
        Self { templates_source: folder, ..self }
    }

    /// The same, with the files of `locales/`.
    #[doc(hidden)]
    #[must_use]
    pub fn with_locales(self, locales: Folder) -> Self {
        Self { locales, ..self }
    }

    /// The messages of the site.
    pub(super) fn messages(&self) -> folder::Layers {
        let source =
            self.templates_source.map(|folder| Path::new(folder).with_file_name("locales"));
        folder::Layers { operator: None, site: self.locales.clone(), site_source: source }
    }

    pub(super) fn is_website(&self) -> bool {
        self.is_website
    }

    /// The migrations, in order. Files without the ending `.sql`, such as a README, are not read.
    pub(crate) fn migrations(&self) -> Result<Vec<Migration>, MigrationFileError> {
        let mut found = BTreeMap::new();
        for (path, bytes) in self.migrations.iter().filter(|(path, _)| path.ends_with(".sql")) {
            let (version, description, kind) =
                parse_name(path).ok_or_else(|| MigrationFileError::Name(path.clone()))?;
            let text = std::str::from_utf8(bytes)
                .map_err(|_| MigrationFileError::Text(path.clone()))?
                .to_owned();
            let no_transaction = text.starts_with("-- no-transaction");
            let (description, sql) = (description.into(), AssertSqlSafe(text).into_sql_str());
            let migration = Migration::new(version, description, kind, sql, no_transaction);
            if found.insert((version, kind.is_down_migration()), migration).is_some() {
                return Err(MigrationFileError::Repeated(path.clone()));
            }
        }
        Ok(found.into_values().collect())
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let migrations = self.migrations().err();
        let messages = self.messages();
        let of_messages = language::problems(&messages);
        let layers = Layers { messages, ..Layers::of_site(&self.templates) };
        let templates = templates::problems(&layers);
        let migrations = migrations.iter().map(ToString::to_string);
        let of_messages = of_messages.iter().map(ToString::to_string);
        migrations.chain(of_messages).chain(templates.iter().map(ToString::to_string)).collect()
    }
}

/// Version, description and kind of a migration, as sqlx-cli reads them from the name of a file.
fn parse_name(name: &str) -> Option<(i64, String, MigrationType)> {
    let (version, rest) = name.split_once('_')?;
    let kind = MigrationType::from_filename(name);
    let description = rest.strip_suffix(kind.suffix())?.replace('_', " ");
    let version = version.parse().ok().filter(|version| *version > 0)?;
    (!description.is_empty() && !name.contains('/')).then_some((version, description, kind))
}

/// The name of the file of a migration.
pub(super) fn file_name(migration: &Migration) -> String {
    let description = migration.description.replace(' ', "_");
    format!("{}_{description}{}", migration.version, migration.migration_type.suffix())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn with(files: &[(&str, &'static str)]) -> Result<Vec<Migration>, MigrationFileError> {
        let folder = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Cow::Borrowed(text.as_bytes())))
            .collect();
        Embedded::new(Folder::new(), Folder::new(), folder).migrations()
    }

    #[test]
    fn migrations_are_read_from_the_names_of_files() {
        let found = with(&[
            ("2_b.sql", "SELECT 2"),
            ("1_a_table.up.sql", "SELECT 1"),
            ("1_a_table.down.sql", "SELECT 0"),
            ("README.md", "text"),
        ])
        .unwrap();
        let found: Vec<_> =
            found.iter().map(|one| (one.version, &*one.description, one.migration_type)).collect();
        assert_eq!(
            found,
            [
                (1, "a table", MigrationType::ReversibleUp),
                (1, "a table", MigrationType::ReversibleDown),
                (2, "b", MigrationType::Simple)
            ]
        );
        for name in ["notes.sql", "x_notes.sql", "1_.sql", "0_a.sql", "a/1_b.sql"] {
            assert_eq!(with(&[(name, "")]).unwrap_err(), MigrationFileError::Name(name.to_owned()));
        }
        let repeated = with(&[("1_a.sql", ""), ("1_b.up.sql", "")]);
        assert!(matches!(repeated, Err(MigrationFileError::Repeated(_))));
    }
}
