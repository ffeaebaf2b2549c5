//! The names of what Frontdesk creates in its schema, read from its migrations. Other applications may have tables in
//! the same schema.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::migrations::MIGRATOR;

/// What the migrations create, by kind. Some of it is dropped by a later migration.
#[derive(Debug, Default)]
pub(super) struct OwnObjects {
    relations: BTreeSet<String>,
    functions: BTreeSet<String>,
    types: BTreeSet<String>,
}

impl OwnObjects {
    /// Those of this version.
    pub(super) fn all() -> &'static Self {
        static ALL: LazyLock<OwnObjects> = LazyLock::new(|| OwnObjects::where_version(|_| true));
        &ALL
    }

    /// Those of the migrations that are applied: a table with the name of one that is not belongs to another
    /// application.
    pub(super) fn of(applied: &[i64]) -> Self {
        Self::where_version(|version| applied.contains(&version))
    }

    fn where_version(is_selected: impl Fn(i64) -> bool) -> Self {
        let mut objects = Self::default();
        objects.relations.insert("_sqlx_migrations".to_owned());
        for migration in MIGRATOR.iter() {
            if migration.migration_type.is_up_migration() && is_selected(migration.version) {
                objects.read(migration.sql.as_str());
            }
        }
        objects
    }

    /// Tables, views and sequences, with the record of the migrations.
    pub(super) fn relations(&self) -> Vec<&str> {
        self.relations.iter().map(String::as_str).collect()
    }

    pub(super) fn functions(&self) -> Vec<&str> {
        self.functions.iter().map(String::as_str).collect()
    }

    pub(super) fn types(&self) -> Vec<&str> {
        self.types.iter().map(String::as_str).collect()
    }

    fn read(&mut self, sql: &str) {
        for line in sql.lines() {
            let mut words = line.split([' ', '(']).filter(|word| !word.is_empty());
            if words.next() != Some("CREATE") {
                continue;
            }
            let mut words = words.filter(|word| {
                !matches!(*word, "OR" | "REPLACE" | "UNLOGGED" | "IF" | "NOT" | "EXISTS")
            });
            let (Some(kind), Some(name)) = (words.next(), words.next()) else { continue };
            let names = match kind {
                "TABLE" | "VIEW" | "SEQUENCE" => &mut self.relations,
                "FUNCTION" | "PROCEDURE" => &mut self.functions,
                "TYPE" | "DOMAIN" => &mut self.types,
                _ => continue,
            };
            names.insert(name.trim_end_matches(';').to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_every_kind_of_statement() {
        let mut objects = OwnObjects::default();
        objects.read(
            "CREATE TABLE users (\nCREATE UNLOGGED TABLE throttles (\nCREATE OR REPLACE VIEW people AS\nCREATE SEQUENCE asks;\nCREATE UNIQUE INDEX users_idx ON users (id);\n-- CREATE TABLE comment (\nCREATE OR REPLACE FUNCTION announce(schema text) RETURNS void\nCREATE TYPE kind AS ENUM ('a');\nCREATE TRIGGER t AFTER UPDATE",
        );
        assert_eq!(objects.relations(), ["asks", "people", "throttles", "users"]);
        assert_eq!(objects.functions(), ["announce"]);
        assert_eq!(objects.types(), ["kind"]);
    }
}
