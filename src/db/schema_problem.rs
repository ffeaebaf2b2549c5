//! Why the tables in the database do not match the program, in sentences for operators.

use crate::program;

/// Why the schema does not match this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaProblem {
    /// Migrations of this program are not applied.
    #[error(
        "{pending} migration(s) are pending. Run `{} migrate run` or `sqlx migrate run`.",
        program::name()
    )]
    Pending {
        /// The number of pending migrations.
        pending: usize,
    },
    /// A migration started and did not finish.
    #[error(
        "Migration {version} started but did not finish. Undo its partial changes in the database, delete its row from _sqlx_migrations, then run `{} migrate run`.",
        program::name()
    )]
    Dirty {
        /// The unfinished migration.
        version: i64,
    },
    /// The database has a migration that this program does not know, and this program cannot be used with it.
    #[error(
        "The database schema is newer than this version of Frontdesk, and migration {version} is not compatible with it: {reason}. Start the newer version, or revert with its `{} migrate revert`.",
        program::name()
    )]
    Newer {
        /// The unknown migration.
        version: i64,
        /// What no longer works.
        reason: String,
    },
    /// The newest migration is not one of this program, which therefore cannot revert it.
    #[error(
        "Migration {version} is newer than this version of Frontdesk. Only a version that knows it can revert it: use its `{} migrate revert`.",
        program::name()
    )]
    NotRevertible {
        /// The unknown migration.
        version: i64,
    },
    /// The record of migrations is that of another application.
    #[error(
        "The table _sqlx_migrations in the schema {schema} belongs to another application (it has migration {version}, and none of Frontdesk's). Give Frontdesk a database of its own, or a schema: CREATE SCHEMA frontdesk; and add ?options=-c%20search_path%3Dfrontdesk to DATABASE_URL."
    )]
    Foreign {
        /// The first schema of the search path.
        schema: String,
        /// A migration that is not Frontdesk's.
        version: i64,
    },
    /// The tables are in another schema than the one that is set: new, empty ones beside them would look like the
    /// loss of all accounts.
    #[error(
        "The tables of Frontdesk are in the schema {schema} of this database, and not in {own}, so all accounts would be missing. Stop every server and run `{program} migrate move {own}`. Or set FRONTDESK_SCHEMA={schema} and another FRONTDESK_SITE_SCHEMA. For a second site beside it, use another database, or create its schema first: CREATE SCHEMA {own};",
        program = program::name()
    )]
    Elsewhere {
        /// Where they are.
        schema: String,
        /// The schema that is set.
        own: String,
    },
    /// The tables of the site do not match its program.
    #[error(transparent)]
    Site(#[from] SiteSchemaProblem),
    /// An applied migration differs from the one in this program.
    #[error(
        "Migration {version} in the database differs from the one in this version of Frontdesk. The file was changed after it was applied. Restore the file."
    )]
    Changed {
        /// The changed migration.
        version: i64,
    },
}

impl SchemaProblem {
    /// Whether this is the wrong program or setting for the database, or its files were changed.
    pub fn is_wrong_program(&self) -> bool {
        match self {
            Self::Elsewhere { .. } => true,
            Self::Site(problem) => problem.is_wrong_program(),
            _ => false,
        }
    }
}

/// Why the site's tables do not match its program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteSchemaProblem {
    /// Migrations of the program are not applied.
    #[error("{0} migration(s) of the site are pending. Run `{program} migrate run`.", program = program::name())]
    Pending(usize),
    /// A migration started and did not finish.
    #[error(
        "Migration {0} of the site started but did not finish. Undo its partial changes, delete its row from _sqlx_migrations in the site's schema, then run `{program} migrate run`.", program = program::name()
    )]
    Unfinished(i64),
    /// The database has a migration that the program does not know.
    #[error(
        "The site's schema has migration {0}, which this program does not have. Start the version that has it, or restore its file in migrations/."
    )]
    Unknown(i64),
    /// A pending migration names the schema `frontdesk`, and another one is in force.
    #[error(
        "Line {line} of migrations/{file} names the schema frontdesk, but FRONTDESK_SCHEMA is {schema}. Write users in place of frontdesk.users: the search path of the site's migrations has both schemas. Or set FRONTDESK_SCHEMA=frontdesk."
    )]
    OtherSchema {
        /// The name of the file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// The schema of Frontdesk's tables.
        schema: String,
    },
    /// The file was changed after it was applied.
    #[error(
        "Migration {0} of the site was changed after it was applied. Restore the file, and write another migration."
    )]
    Changed(i64),
}

impl SiteSchemaProblem {
    /// Whether the program or its files are not those that the database knows.
    pub fn is_wrong_program(&self) -> bool {
        !matches!(self, Self::Pending(_))
    }
}
