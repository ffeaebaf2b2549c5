//! Schema migrations: the embedded files of `migrations/`. Applied migrations are recorded in
//! `_sqlx_migrations`, as by `sqlx migrate`. A schema with unknown migrations is never changed.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use time::OffsetDateTime;

use super::migration_lock;

use super::error::code_of;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// A migration and whether it is applied.
#[derive(Debug, serde::Serialize)]
pub struct MigrationStatus {
    /// The number at the start of the file name.
    pub version: i64,
    /// The rest of the file name.
    pub description: String,
    /// The time at which it was applied; `None`: pending.
    #[serde(with = "time::serde::rfc3339::option")]
    pub applied_at: Option<OffsetDateTime>,
}

/// A schema that this program can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// Exactly the migrations of this program are applied.
    Current,
    /// A newer version has migrated it, compatibly.
    Newer {
        /// The first migration that this program does not know.
        version: i64,
    },
}

impl fmt::Display for Schema {
    /// A sentence for operators; `ok` if there is nothing to say.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schema::Current => out.write_str("ok"),
            Schema::Newer { version } => write!(
                out,
                "The database schema is newer than this version of Frontdesk (it has migration {version}), but compatible with it."
            ),
        }
    }
}

/// Why the schema does not match this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaProblem {
    /// Migrations of this program are not applied.
    #[error(
        "{pending} migration(s) are pending. Run `frontdesk migrate run` or `sqlx migrate run`."
    )]
    Pending {
        /// The number of pending migrations.
        pending: usize,
    },
    /// A migration started and did not finish.
    #[error(
        "Migration {version} started but did not finish. Undo its partial changes in the database, delete its row from _sqlx_migrations, then run `frontdesk migrate run`."
    )]
    Dirty {
        /// The unfinished migration.
        version: i64,
    },
    /// The database has a migration that this program does not know, and this program cannot be used with it.
    #[error(
        "The database schema is newer than this version of Frontdesk, and migration {version} is not compatible with it: {reason}. Start the newer version, or revert with its `frontdesk migrate revert`."
    )]
    Newer {
        /// The unknown migration.
        version: i64,
        /// What no longer works.
        reason: String,
    },
    /// The newest migration is not one of this program, which therefore cannot revert it.
    #[error(
        "Migration {version} is newer than this version of Frontdesk. Only a version that knows it can revert it: use its `frontdesk migrate revert`."
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
    /// An applied migration differs from the one in this program.
    #[error(
        "Migration {version} in the database differs from the one in this version of Frontdesk. The file was changed after it was applied. Restore the file."
    )]
    Changed {
        /// The changed migration.
        version: i64,
    },
}

/// Applies the pending migrations. If there are none, no privilege to change the schema is needed.
pub async fn run(pool: &PgPool) -> anyhow::Result<()> {
    run_and_report(pool, |_| {}).await
}

/// Like [`run`]. `report` gets a message whenever the state changes: that it waits for the migration lock, whose
/// and how long, and that it applies migrations. The wait is also logged.
pub async fn run_and_report(pool: &PgPool, report: impl Fn(&str)) -> anyhow::Result<()> {
    match check(pool).await? {
        Ok(_) => return Ok(()),
        Err(SchemaProblem::Pending { .. }) => {}
        Err(problem) => return Err(problem.into()),
    }
    let mut connection = without_timeout(pool).await?;
    migration_lock::acquire(&mut connection, &report).await?;
    report("applying migrations");
    let result = match MIGRATOR.run_direct(None, &mut connection, false).await {
        Err(MigrateError::VersionMissing(version)) => Err(SchemaProblem::Newer {
            version,
            reason: "migrations of this version are missing below it".to_owned(),
        }
        .into()),
        Err(MigrateError::VersionMismatch(version)) => {
            Err(SchemaProblem::Changed { version }.into())
        }
        Err(MigrateError::Dirty(version)) => Err(SchemaProblem::Dirty { version }.into()),
        Err(error) => {
            let remains = describe_failure(&mut connection, &error).await;
            Err(anyhow::Error::new(error).context(remains))
        }
        Ok(()) => Ok(()),
    };
    connection.close().await.ok();
    result
}

/// Like [`run`], in a separate schema, which is created if it does not exist. `pool` must use the options of
/// [`super::in_schema`]. `_sqlx_migrations` is in that schema too, separate from that of the application.
pub async fn run_in_schema(pool: &PgPool, schema: &str) -> anyhow::Result<()> {
    let create = format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", schema.replace('"', "\"\""));
    if check(pool).await?.is_err() {
        sqlx::raw_sql(sqlx::AssertSqlSafe(create))
            .execute(pool)
            .await
            .context("the schema cannot be created")?;
    }
    run(pool).await
}

/// SQL that creates the roles of least privilege and grants their privileges.
pub const ROLES: &str = include_str!("roles.sql");

/// Runs [`ROLES`], and returns the names of the roles. Must be repeated after each migration, because it grants
/// privileges on the tables that exist now.
pub async fn grant_roles(pool: &PgPool) -> anyhow::Result<Vec<String>> {
    sqlx::raw_sql(ROLES)
        .execute(pool)
        .await
        .context("the roles cannot be created. Run this as the owner of the tables with CREATEROLE, or as a superuser")?;
    let names = "SELECT DISTINCT grantee::text FROM information_schema.role_table_grants
                  WHERE table_schema = current_schema() AND table_name = 'breaking_migrations'
                    AND grantee LIKE 'frontdesk\\_%' ORDER BY 1";
    Ok(sqlx::query_scalar(names).fetch_all(pool).await?)
}

/// The versions of the applied migrations, in order. An error if this program cannot revert the newest one.
pub async fn revertible(pool: &PgPool) -> anyhow::Result<Vec<i64>> {
    match check(pool).await? {
        Ok(Schema::Newer { version }) => Err(SchemaProblem::NotRevertible { version }.into()),
        Err(problem @ (SchemaProblem::Newer { .. } | SchemaProblem::Foreign { .. })) => {
            Err(problem.into())
        }
        _ => Ok(applied(pool).await?.into_keys().collect()),
    }
}

/// Reverts every migration that is newer than `target`, and returns their versions. The data in dropped tables
/// and columns is lost.
pub async fn revert(pool: &PgPool, target: i64) -> anyhow::Result<Vec<i64>> {
    let before = revertible(pool).await?;
    let mut connection = without_timeout(pool).await?;
    let result = MIGRATOR.undo(&mut connection, target).await;
    connection.close().await.ok();
    result.context("the migration cannot be reverted")?;
    Ok(before.into_iter().rev().filter(|version| *version > target).collect())
}

/// Every migration of this program, in order.
pub async fn info(pool: &PgPool) -> anyhow::Result<Vec<MigrationStatus>> {
    let applied = applied(pool).await?;
    Ok(MIGRATOR
        .iter()
        .filter(|migration| migration.migration_type.is_up_migration())
        .map(|migration| MigrationStatus {
            version: migration.version,
            description: migration.description.to_string(),
            applied_at: applied.get(&migration.version).map(|row| row.at),
        })
        .collect())
}

/// Whether this program can use the current schema.
pub async fn check(pool: &PgPool) -> anyhow::Result<Result<Schema, SchemaProblem>> {
    let applied = applied(pool).await?;
    if let Some((version, _)) = applied.iter().find(|(_, row)| !row.finished) {
        return Ok(Err(SchemaProblem::Dirty { version: *version }));
    }
    let known: BTreeMap<i64, &[u8]> = MIGRATOR
        .iter()
        .filter(|migration| migration.migration_type.is_up_migration())
        .map(|migration| (migration.version, migration.checksum.as_ref()))
        .collect();
    let mut unknown = None;
    for (version, row) in &applied {
        match known.get(version) {
            None => unknown = unknown.or(Some(*version)),
            Some(checksum) if *checksum != row.checksum.as_slice() => {
                return Ok(Err(SchemaProblem::Changed { version: *version }));
            }
            Some(_) => {}
        }
    }
    let pending = known.keys().filter(|version| !applied.contains_key(version)).count();
    Ok(match unknown {
        None if pending == 0 => Ok(Schema::Current),
        None => Err(SchemaProblem::Pending { pending }),
        Some(version) if pending == known.len() => {
            let schema =
                sqlx::query_scalar("SELECT current_schema()::text").fetch_one(pool).await?;
            Err(SchemaProblem::Foreign { schema, version })
        }
        Some(version) if pending > 0 => Err(SchemaProblem::Newer {
            version,
            reason: format!("{pending} migration(s) of this version are missing below it"),
        }),
        Some(version) => match first_breaking(pool, &known).await? {
            None => Ok(Schema::Newer { version }),
            Some((version, reason)) => Err(SchemaProblem::Newer { version, reason }),
        },
    })
}

/// The first migration that this program does not know and that declares to be incompatible with programs
/// that do not know it (see `migrations/README.md`).
async fn first_breaking(
    pool: &PgPool,
    known: &BTreeMap<i64, &[u8]>,
) -> sqlx::Result<Option<(i64, String)>> {
    let known: Vec<i64> = known.keys().copied().collect();
    sqlx::query_as(
        "SELECT version, reason FROM breaking_migrations WHERE version <> ALL($1) ORDER BY version LIMIT 1",
    )
    .bind(known)
    .fetch_optional(pool)
    .await
}

struct Applied {
    checksum: Vec<u8>,
    finished: bool,
    at: OffsetDateTime,
}

async fn applied(pool: &PgPool) -> anyhow::Result<BTreeMap<i64, Applied>> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(pool)
        .await?;
    if !exists {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(i64, Vec<u8>, bool, OffsetDateTime)> = sqlx::query_as(
        "SELECT version, checksum, success, installed_on FROM _sqlx_migrations ORDER BY version",
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(version, checksum, finished, at)| (version, Applied { checksum, finished, at }))
        .collect())
}

/// Opens a connection without the statement timeout of pages: a migration may take long.
async fn without_timeout(pool: &PgPool) -> anyhow::Result<PgConnection> {
    let mut connection = super::connect_to_primary(&pool.connect_options()).await?;
    // A file with CREATE INDEX CONCURRENTLY cannot set its own timeouts. It does not need them: it blocks no
    // other statement while it waits for older transactions, and a timeout would leave an invalid index
    // behind. All other files set their own.
    connection.execute("SET statement_timeout = 0").await?;
    connection.execute("SET lock_timeout = 0").await?;
    Ok(connection)
}

/// Describes the state in which a failed migration left the database, and what helps.
async fn describe_failure(connection: &mut PgConnection, error: &MigrateError) -> String {
    let invalid = sqlx::query_scalar::<_, String>(
        "SELECT format('%I.%I', n.nspname, c.relname)
           FROM pg_index i
           JOIN pg_class c ON c.oid = i.indexrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE NOT i.indisvalid
            AND n.nspname = current_schema()
          LIMIT 1",
    );
    if let Ok(Some(index)) = invalid.fetch_optional(&mut *connection).await {
        return format!(
            "a migration failed and left an invalid index. Run `DROP INDEX CONCURRENTLY {index};`, then `frontdesk migrate run`"
        );
    }
    let (MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) = error else {
        return "a migration failed and was rolled back".to_owned();
    };
    let login = sqlx::query_as::<_, (Option<String>, String, bool)>(
        "SELECT format('%I', current_schema()), format('%I', current_user),
                coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)",
    );
    match (code_of(cause).as_deref(), login.fetch_one(connection).await) {
        (Some("3F000"), _) => {
            "the search path names no schema that exists. Create it: CREATE SCHEMA name;".to_owned()
        }
        (Some("42501"), Ok((Some(schema), user, false))) => format!(
            "the login {user} may not create tables in the schema {schema} (run as its owner or a superuser: GRANT USAGE, CREATE ON SCHEMA {schema} TO {user};)"
        ),
        (Some("42501"), Ok((_, user, true))) => format!(
            "a migration was rolled back, because the login {user} does not own the tables. Run `frontdesk migrate run` as their owner, and set FRONTDESK_MIGRATE=off for {user}"
        ),
        _ => "a migration failed and was rolled back".to_owned(),
    }
}
