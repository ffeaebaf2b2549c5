//! The schema: the files of `migrations/`, embedded, in the ledger that `sqlx migrate` keeps too.
//! Must never change a schema that it does not know.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use time::OffsetDateTime;

/// Names the running of migrations among PostgreSQL's advisory locks ("frontdmi" in ASCII).
const LOCK: i64 = 0x6672_6f6e_7464_6d69;
const LOCK_RETRY: Duration = Duration::from_millis(100);

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// One migration as the ledger and the program know it.
#[derive(Debug, serde::Serialize)]
pub struct MigrationStatus {
    /// The number in front of the file's name.
    pub version: i64,
    /// The rest of the file's name.
    pub description: String,
    /// When it was applied; `None`: pending.
    #[serde(with = "time::serde::rfc3339::option")]
    pub applied_at: Option<OffsetDateTime>,
}

/// What the schema is, compared with what this program needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaProblem {
    /// Migrations of this program are not applied.
    #[error(
        "The database schema is {pending} step(s) behind this program. Run `frontdesk migrate run`, or `sqlx migrate run`."
    )]
    Pending {
        /// How many.
        pending: usize,
    },
    /// A migration began and did not end.
    #[error(
        "Migration {version} began and did not finish. Look at the database, undo what is left of it, delete its row from _sqlx_migrations, then run `frontdesk migrate run`."
    )]
    Dirty {
        /// Which.
        version: i64,
    },
    /// The ledger knows a migration that this program does not.
    #[error(
        "The database schema is newer than this program (it has migration {version}). Start the newer Frontdesk, or revert with that version's `frontdesk migrate revert`."
    )]
    Newer {
        /// The first unknown one.
        version: i64,
    },
    /// An applied migration is not the one in this program.
    #[error(
        "Migration {version} in the database is not the one this program carries. The file was changed after it was applied; restore the file."
    )]
    Changed {
        /// Which.
        version: i64,
    },
}

/// Applies what is pending. Where nothing is, it needs no right to change the schema.
pub async fn run(pool: &PgPool) -> anyhow::Result<()> {
    if check(pool).await?.is_ok() {
        return Ok(());
    }
    let mut connection = without_timeout(pool).await?;
    // Asked again and again, not waited for: a statement that waits holds up CREATE INDEX CONCURRENTLY of
    // the one that it waits for.
    let mine = "SELECT pg_try_advisory_lock($1)";
    while !sqlx::query_scalar::<_, bool>(mine).bind(LOCK).fetch_one(&mut connection).await? {
        tokio::time::sleep(LOCK_RETRY).await;
    }
    let result = match MIGRATOR.run_direct(None, &mut connection, false).await {
        Err(MigrateError::VersionMissing(version)) => Err(SchemaProblem::Newer { version }.into()),
        Err(MigrateError::VersionMismatch(version)) => {
            Err(SchemaProblem::Changed { version }.into())
        }
        Err(MigrateError::Dirty(version)) => Err(SchemaProblem::Dirty { version }.into()),
        Err(error) => {
            let left = left_over(&mut connection).await;
            Err(anyhow::Error::new(error).context(left))
        }
        Ok(()) => Ok(()),
    };
    connection.close().await.ok();
    result
}

/// The same in a schema of its own, which is made when it is not there. `pool` comes from
/// [`super::in_schema`]; the ledger lies in that schema too, beside that of the host.
pub async fn run_in_schema(pool: &PgPool, schema: &str) -> anyhow::Result<()> {
    let made = format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", schema.replace('"', "\"\""));
    if check(pool).await?.is_err() {
        sqlx::raw_sql(sqlx::AssertSqlSafe(made))
            .execute(pool)
            .await
            .context("the schema could not be made")?;
    }
    run(pool).await
}

/// The roles of least privilege and what each may do, as SQL.
pub const ROLES: &str = include_str!("roles.sql");

/// Makes the roles and grants them what they need, in the schema as it is now.
pub async fn grant_roles(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::raw_sql(ROLES)
        .execute(pool)
        .await
        .context("the roles could not be made; it takes the owner of the tables with CREATEROLE, or a superuser")?;
    Ok(())
}

/// Takes back the newest migration, or all of them; answers the versions taken back. Data goes with
/// the tables.
pub async fn revert(pool: &PgPool, all: bool) -> anyhow::Result<Vec<i64>> {
    let before: Vec<i64> = applied(pool).await?.into_keys().collect();
    let target = match (all, before.as_slice()) {
        (_, []) => return Ok(Vec::new()),
        (false, [.., previous, _]) => *previous,
        _ => 0,
    };
    let mut connection = without_timeout(pool).await?;
    let result = MIGRATOR.undo(&mut connection, target).await;
    connection.close().await.ok();
    result.context("the migration could not be taken back")?;
    Ok(before.into_iter().rev().filter(|version| *version > target).collect())
}

/// Every migration this program knows, in order.
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

/// Whether this program can serve on the schema as it is.
pub async fn check(pool: &PgPool) -> anyhow::Result<Result<(), SchemaProblem>> {
    let applied = applied(pool).await?;
    if let Some((version, _)) = applied.iter().find(|(_, row)| !row.finished) {
        return Ok(Err(SchemaProblem::Dirty { version: *version }));
    }
    let known: BTreeMap<i64, &[u8]> = MIGRATOR
        .iter()
        .filter(|migration| migration.migration_type.is_up_migration())
        .map(|migration| (migration.version, migration.checksum.as_ref()))
        .collect();
    for (version, row) in &applied {
        match known.get(version) {
            None => return Ok(Err(SchemaProblem::Newer { version: *version })),
            Some(checksum) if *checksum != row.checksum.as_slice() => {
                return Ok(Err(SchemaProblem::Changed { version: *version }));
            }
            Some(_) => {}
        }
    }
    let pending = known.keys().filter(|version| !applied.contains_key(version)).count();
    Ok(if pending == 0 { Ok(()) } else { Err(SchemaProblem::Pending { pending }) })
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

/// A connection of its own without the pages' statement timeout: a migration may take its time, and
/// two servers that start together wait for each other.
async fn without_timeout(pool: &PgPool) -> anyhow::Result<PgConnection> {
    let mut connection = super::connect_to_primary(&pool.connect_options()).await?;
    // A file that builds an index concurrently can not set its own, and nobody waits behind it: it waits for older
    // transactions, however long, for what it leaves when it gives up is an invalid index. All others set theirs.
    connection.execute("SET statement_timeout = 0").await?;
    connection.execute("SET lock_timeout = 0").await?;
    Ok(connection)
}

/// What a migration that failed has left.
async fn left_over(connection: &mut PgConnection) -> String {
    let invalid = sqlx::query_scalar::<_, String>(
        "SELECT format('%I.%I', n.nspname, c.relname)
           FROM pg_index i
           JOIN pg_class c ON c.oid = i.indexrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE NOT i.indisvalid
            AND n.nspname = current_schema()
          LIMIT 1",
    );
    match invalid.fetch_optional(connection).await {
        Ok(Some(index)) => format!(
            "a migration failed, and an index is half built. Run `DROP INDEX CONCURRENTLY {index};`, then `frontdesk migrate run`"
        ),
        _ => "a migration failed; the database is as it was before that migration".to_owned(),
    }
}
