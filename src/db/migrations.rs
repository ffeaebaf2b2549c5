//! Schema migrations: the embedded files of `migrations/`. Applied migrations are recorded in
//! `_sqlx_migrations`, as by `sqlx migrate`. A schema with unknown migrations is never changed.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context as _;
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use time::OffsetDateTime;

use super::migration_lock;

use super::error::code_of;
pub use super::schema_problem::SchemaProblem;
use crate::program;

pub(super) static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

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
    run_in_schema_and_report(pool, schema, |_| {}).await
}

/// Like [`run_in_schema`], with the messages of [`run_and_report`].
pub async fn run_in_schema_and_report(
    pool: &PgPool,
    schema: &str,
    report: impl Fn(&str),
) -> anyhow::Result<()> {
    if check(pool).await?.is_err() {
        create_schema(pool, schema).await?;
    }
    run_and_report(pool, report).await
}

/// Creates `schema`, if it does not exist.
pub(super) async fn create_schema(pool: &PgPool, schema: &str) -> anyhow::Result<()> {
    create_schema_on(&mut *pool.acquire().await?, schema).await
}

/// Like [`create_schema`], in the caller's transaction.
pub(super) async fn create_schema_on(
    connection: &mut PgConnection,
    schema: &str,
) -> anyhow::Result<()> {
    // Without the statement, the right to create schemas is not needed.
    let exists = "SELECT to_regnamespace(quote_ident($1)) IS NOT NULL";
    if sqlx::query_scalar::<_, bool>(exists).bind(schema).fetch_one(&mut *connection).await? {
        return Ok(());
    }
    let create = format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", schema.replace('"', "\"\""));
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(connection).await.with_context(|| {
        format!("the schema {schema} cannot be created. Run this as the owner of the database, or create it: CREATE SCHEMA {schema};")
    })?;
    Ok(())
}

/// SQL that creates the roles of least privilege and grants their privileges.
pub const ROLES: &str = include_str!("roles.sql");

/// Runs [`ROLES`], and returns the names of the roles. Must be repeated after each migration, because it grants
/// privileges on the tables that exist now. `site_schema`: that of a website's tables.
pub async fn grant_roles(pool: &PgPool, site_schema: Option<&str>) -> anyhow::Result<Vec<String>> {
    let site_schema = site_schema.unwrap_or_default().replace('\'', "''");
    // One transaction, in which the setting is local.
    let sql =
        format!("SELECT set_config('frontdesk.site_schema', '{site_schema}', true);\n{ROLES}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(pool)
        .await
        .context("the roles cannot be created. Run this as the owner of the tables with CREATEROLE, or as a superuser")?;
    let names = "SELECT DISTINCT grantee::text FROM information_schema.role_table_grants
                  WHERE table_schema = current_schema() AND table_name = 'user_profiles'
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
    Ok(statuses(MIGRATOR.iter(), &applied(pool).await?))
}

pub(super) fn statuses<'a>(
    migrations: impl Iterator<Item = &'a Migration>,
    applied: &BTreeMap<i64, Applied>,
) -> Vec<MigrationStatus> {
    migrations
        .filter(|migration| migration.migration_type.is_up_migration())
        .map(|migration| MigrationStatus {
            version: migration.version,
            description: migration.description.to_string(),
            applied_at: applied.get(&migration.version).map(|row| row.at),
        })
        .collect()
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

/// A row of `_sqlx_migrations`.
pub(super) struct Applied {
    pub(super) checksum: Vec<u8>,
    pub(super) finished: bool,
    at: OffsetDateTime,
}

async fn applied(pool: &PgPool) -> anyhow::Result<BTreeMap<i64, Applied>> {
    applied_in(pool, "_sqlx_migrations").await
}

/// The rows of the record `table`, which may be qualified and must be quoted where necessary. Empty if it does not
/// exist.
pub(super) async fn applied_in(
    pool: &PgPool,
    table: &str,
) -> anyhow::Result<BTreeMap<i64, Applied>> {
    let exists = "SELECT to_regclass($1) IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(exists).bind(table).fetch_one(pool).await? {
        return Ok(BTreeMap::new());
    }
    let select =
        format!("SELECT version, checksum, success, installed_on FROM {table} ORDER BY version");
    let rows: Vec<(i64, Vec<u8>, bool, OffsetDateTime)> =
        sqlx::query_as(sqlx::AssertSqlSafe(select)).fetch_all(pool).await?;
    Ok(rows
        .into_iter()
        .map(|(version, checksum, finished, at)| (version, Applied { checksum, finished, at }))
        .collect())
}

/// Opens a connection without the statement timeout of pages: a migration may take long.
pub(super) async fn without_timeout(pool: &PgPool) -> anyhow::Result<PgConnection> {
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
            "a migration failed and left an invalid index. Run `DROP INDEX CONCURRENTLY {index};`, then `{} migrate run`",
            program::name()
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
            "a migration was rolled back, because the login {user} does not own the tables. Run `{} migrate run` as their owner, and set FRONTDESK_MIGRATE=off for {user}",
            program::name()
        ),
        _ => "a migration failed and was rolled back".to_owned(),
    }
}
