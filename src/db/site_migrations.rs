//! The migrations of a website, in its own schema, with its own record `_sqlx_migrations`, as sqlx-cli expects it.
//! They run after Frontdesk's, under the same lock.

use std::collections::BTreeMap;

use anyhow::Context as _;
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{Connection as _, PgPool};

use super::migration_lock;
use super::migrations::{self, MigrationStatus};
pub use super::schema_problem::SiteSchemaProblem;

/// The record of the site's migrations. Without the name of the schema, that of Frontdesk would be found where the
/// site has none yet.
fn record(schema: &str) -> String {
    format!("\"{}\"._sqlx_migrations", schema.replace('"', "\"\""))
}

/// Whether the tables in `schema` match `migrations`.
pub async fn check(
    pool: &PgPool,
    schema: &str,
    migrations: &[Migration],
) -> anyhow::Result<Result<(), SiteSchemaProblem>> {
    let applied = migrations::applied_in(pool, &record(schema)).await?;
    let known: BTreeMap<i64, &[u8]> = migrations
        .iter()
        .filter(|migration| migration.migration_type.is_up_migration())
        .map(|migration| (migration.version, migration.checksum.as_ref()))
        .collect();
    for (version, row) in &applied {
        let problem = match known.get(version) {
            _ if !row.finished => SiteSchemaProblem::Unfinished(*version),
            None => SiteSchemaProblem::Unknown(*version),
            Some(checksum) if *checksum != row.checksum.as_slice() => {
                SiteSchemaProblem::Changed(*version)
            }
            Some(_) => continue,
        };
        return Ok(Err(problem));
    }
    let pending = known.keys().filter(|version| !applied.contains_key(version)).count();
    Ok(if pending == 0 { Ok(()) } else { Err(SiteSchemaProblem::Pending(pending)) })
}

/// Creates the site's schema if necessary, and applies the pending migrations. Returns how many there were.
pub async fn run(
    pool: &PgPool,
    schema: &str,
    migrations: Vec<Migration>,
    report: impl Fn(&str),
) -> anyhow::Result<usize> {
    let pending = match check(pool, schema, &migrations).await? {
        Ok(()) => return Ok(0),
        Err(SiteSchemaProblem::Pending(pending)) => pending,
        Err(problem) => return Err(problem.into()),
    };
    migrations::create_schema(pool, schema).await?;
    let mut connection = migrations::without_timeout(pool).await?;
    migration_lock::acquire(&mut connection, &report).await?;
    report("applying the site's migrations");
    let migrator = Migrator::with_migrations(migrations);
    let result = match migrator.run_direct(None, &mut connection, false).await {
        Err(MigrateError::VersionMissing(version)) => {
            Err(SiteSchemaProblem::Unknown(version).into())
        }
        Err(MigrateError::VersionMismatch(version)) => {
            Err(SiteSchemaProblem::Changed(version).into())
        }
        Err(MigrateError::Dirty(version)) => Err(SiteSchemaProblem::Unfinished(version).into()),
        Err(error @ (MigrateError::Execute(_) | MigrateError::ExecuteMigration(..))) => {
            Err(anyhow::Error::new(error)
                .context("a migration of the site failed and was rolled back"))
        }
        Err(error) => Err(error).context("the site's migrations cannot be applied"),
        Ok(()) => Ok(pending),
    };
    connection.close().await.ok();
    result
}

/// The versions of the applied migrations, in order. An error if one is unknown or was changed.
pub async fn revertible(
    pool: &PgPool,
    schema: &str,
    migrations: &[Migration],
) -> anyhow::Result<Vec<i64>> {
    if let Err(problem) = check(pool, schema, migrations).await?
        && !matches!(problem, SiteSchemaProblem::Pending(_))
    {
        return Err(problem.into());
    }
    Ok(migrations::applied_in(pool, &record(schema)).await?.into_keys().collect())
}

/// Reverts every migration of the site that is newer than `target`, and returns their versions.
pub async fn revert(
    pool: &PgPool,
    schema: &str,
    migrations: Vec<Migration>,
    target: i64,
) -> anyhow::Result<Vec<i64>> {
    let applied = revertible(pool, schema, &migrations).await?;
    let reverted: Vec<i64> =
        applied.into_iter().rev().filter(|version| *version > target).collect();
    let has_down = |version: &i64| {
        migrations
            .iter()
            .any(|one| one.version == *version && one.migration_type.is_down_migration())
    };
    // sqlx leaves out a migration without a way back, and reports success.
    if let Some(version) = reverted.iter().find(|version| !has_down(version)) {
        anyhow::bail!(
            "migration {version} of the site cannot be reverted: it has no file that ends in .down.sql"
        );
    }
    let mut connection = migrations::without_timeout(pool).await?;
    let result = Migrator::with_migrations(migrations).undo(&mut connection, target).await;
    connection.close().await.ok();
    result.context("the site's migration cannot be reverted")?;
    Ok(reverted)
}

/// Every migration of the site, in order.
pub async fn info(
    pool: &PgPool,
    schema: &str,
    migrations: &[Migration],
) -> anyhow::Result<Vec<MigrationStatus>> {
    let applied = migrations::applied_in(pool, &record(schema)).await?;
    Ok(migrations::statuses(migrations.iter(), &applied))
}
