//! The tables of Frontdesk and those of the site: two schemas, each with its own migrations. Those of Frontdesk
//! are applied first.

use std::sync::Arc;

use sqlx::PgPool;
use sqlx::migrate::Migration;

use super::{Site, SiteDatabase, embedded};
use crate::config::Config;
use crate::db::foreign_keys::{self, ForeignKey};
use crate::db::migrations::{self, MigrationStatus, Schema, SchemaProblem};
use crate::db::schema_move::{self, Move, MoveProblem};
use crate::db::site_migrations::{self, SiteSchemaProblem};
use crate::db::{self, Database};

/// The schema of Frontdesk's tables in a website, unless `FRONTDESK_SCHEMA` is set.
const DEFAULT_SCHEMA: &str = "frontdesk";
/// How many connections [`Schemas::require_search_paths`] asks.
const SEARCH_PATH_QUERIES: usize = 10;

/// Both schemas.
pub struct Schemas {
    pool: PgPool,
    /// The schema of Frontdesk's tables, if it is set.
    own: Option<String>,
    site: Option<SiteSchema>,
}

/// The schema of the site's tables.
struct SiteSchema {
    pool: PgPool,
    name: String,
    migrations: Vec<Migration>,
}

impl Schemas {
    /// The schemas of `site` in `database`.
    pub fn new(config: &Config, database: &Database, site: &Site) -> anyhow::Result<Self> {
        let site = site.is_website().then(|| -> anyhow::Result<SiteSchema> {
            Ok(SiteSchema {
                pool: database.new_site_pool(config),
                name: config.site_schema.clone(),
                migrations: site.embedded.migrations()?,
            })
        });
        Ok(Self {
            pool: database.pool.clone(),
            own: config.schema.clone(),
            site: site.transpose()?,
        })
    }

    /// Whether this program can use both.
    pub async fn check(&self) -> anyhow::Result<Result<Schema, SchemaProblem>> {
        let own = migrations::check(&self.pool).await?;
        if let Err(SchemaProblem::Pending { .. }) = own
            && let Some(problem) = self.installation_elsewhere().await?
        {
            return Ok(Err(problem));
        }
        let Some(site) = self.site.as_ref().filter(|_| own.is_ok()) else { return Ok(own) };
        let checked = site_migrations::check(&site.pool, &site.name, &site.migrations).await?;
        Ok(checked.map_or_else(|problem| Err(problem.into()), |()| own))
    }

    /// Whether migrations are pending and nothing prevents them.
    pub async fn are_pending(&self) -> anyhow::Result<bool> {
        Ok(matches!(
            self.check().await?,
            Err(SchemaProblem::Pending { .. } | SchemaProblem::Site(SiteSchemaProblem::Pending(_)))
        ))
    }

    async fn installation_elsewhere(&self) -> anyhow::Result<Option<SchemaProblem>> {
        let Some(own) = &self.own else { return Ok(None) };
        // It was created for a second installation in this database.
        let exists = "SELECT to_regnamespace(quote_ident($1)) IS NOT NULL";
        if sqlx::query_scalar(exists).bind(own).fetch_one(db::on(&self.pool)).await? {
            return Ok(None);
        }
        let schemas = schema_move::schemas_with_tables(db::on(&self.pool)).await?;
        let elsewhere = schemas.first().filter(|_| !schemas.contains(own));
        Ok(elsewhere
            .map(|schema| SchemaProblem::Elsewhere { schema: schema.clone(), own: own.clone() }))
    }

    /// Fails if a connection does not have the search path of its pool. Asks both pools in turn: a pooler in
    /// transaction mode may give them the same connection.
    pub async fn require_search_paths(&self) -> anyhow::Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        let mut pools = vec![(&self.pool, own.clone())];
        pools.extend(self.site.as_ref().map(|site| (&site.pool, format!("{}, {own}", site.name))));
        for (pool, expected) in pools.iter().cycle().take(SEARCH_PATH_QUERIES) {
            let found: String = sqlx::query_scalar("SELECT current_setting('search_path')")
                .fetch_one(db::on(pool))
                .await?;
            anyhow::ensure!(
                found == *expected,
                "a connection has the search path {found} instead of {expected}, so it would use the wrong tables. A pooler in transaction mode ignores the search path or shares connections: set pool_mode = session and remove options from ignore_startup_parameters in PgBouncer, or connect directly to PostgreSQL"
            );
        }
        Ok(())
    }

    /// Fails if a pending migration of the site names the schema `frontdesk`, and Frontdesk's tables are in another
    /// one. The statement would fail after Frontdesk's migrations, or refer to the tables of another installation.
    async fn refuse_other_schema(&self) -> anyhow::Result<()> {
        let (Some(own), Some(site)) = (&self.own, &self.site) else { return Ok(()) };
        if own == DEFAULT_SCHEMA {
            return Ok(());
        }
        let statuses = site_migrations::info(&site.pool, &site.name, &site.migrations).await?;
        let is_pending = |migration: &&Migration| {
            let is_up = migration.migration_type.is_up_migration();
            let mut same = statuses.iter().filter(|status| status.version == migration.version);
            is_up && same.all(|status| status.applied_at.is_none())
        };
        for migration in site.migrations.iter().filter(is_pending) {
            let mut lines = migration.sql.as_str().lines().map(without_comment);
            if let Some(index) = lines.position(names_default_schema) {
                return Err(SiteSchemaProblem::OtherSchema {
                    file: embedded::file_name(migration),
                    line: index + 1,
                    schema: own.clone(),
                }
                .into());
            }
        }
        Ok(())
    }

    /// Applies the pending migrations of both. `report` gets messages about the progress.
    pub async fn migrate(&self, report: impl Fn(&str)) -> anyhow::Result<usize> {
        if let Some(problem) = self.installation_elsewhere().await? {
            return Err(problem.into());
        }
        self.refuse_other_schema().await?;
        let before = migrations::info(&self.pool).await?;
        let mut applied = before.iter().filter(|one| one.applied_at.is_none()).count();
        match &self.own {
            Some(schema) => {
                migrations::run_in_schema_and_report(&self.pool, schema, &report).await?;
            }
            None => migrations::run_and_report(&self.pool, &report).await?,
        }
        if let Some(SiteSchema { pool, name, migrations }) = &self.site {
            applied += site_migrations::run(pool, name, migrations.clone(), report).await?;
        }
        Ok(applied)
    }

    /// Every migration of the site.
    pub async fn site_info(&self) -> anyhow::Result<Vec<MigrationStatus>> {
        match &self.site {
            Some(site) => site_migrations::info(&site.pool, &site.name, &site.migrations).await,
            None => Ok(Vec::new()),
        }
    }

    /// Whether the site has migrations of its own.
    pub fn has_site(&self) -> bool {
        self.site.is_some()
    }

    /// Creates the roles of least privilege, and returns their names.
    pub async fn grant_roles(&self) -> anyhow::Result<Vec<String>> {
        let site = self.site.as_ref().map(|site| site.name.as_str());
        migrations::grant_roles(&self.pool, site).await
    }

    /// The versions of the applied migrations of the site or of Frontdesk, in order. An error if this program cannot
    /// revert the newest one, or if tables of the site refer to Frontdesk's.
    pub async fn revertible(&self, of_site: bool) -> anyhow::Result<Vec<i64>> {
        match self.site.as_ref().filter(|_| of_site) {
            Some(SiteSchema { pool, name, migrations }) => {
                site_migrations::revertible(pool, name, migrations).await
            }
            None => {
                self.refuse_foreign_keys().await?;
                migrations::revertible(&self.pool).await
            }
        }
    }

    /// Reverts every migration of the site or of Frontdesk that is newer than `target`, and returns their versions.
    pub async fn revert(&self, of_site: bool, target: i64) -> anyhow::Result<Vec<i64>> {
        match self.site.as_ref().filter(|_| of_site) {
            Some(SiteSchema { pool, name, migrations }) => {
                site_migrations::revert(pool, name, migrations.clone(), target).await
            }
            None => migrations::revert(&self.pool, target).await,
        }
    }

    /// Reverting would fail half-way at the table that they refer to.
    async fn refuse_foreign_keys(&self) -> anyhow::Result<()> {
        let keys: Vec<String> = self.foreign_keys().await?.iter().map(ForeignKey::name).collect();
        anyhow::ensure!(
            keys.is_empty(),
            "other tables refer to those of Frontdesk: {}. Revert the migrations of the site first",
            keys.join(", ")
        );
        Ok(())
    }

    /// The foreign keys of other tables to those of Frontdesk.
    pub async fn foreign_keys(&self) -> sqlx::Result<Vec<ForeignKey>> {
        foreign_keys::list(&self.pool).await
    }

    /// Moves the tables of Frontdesk into `schema`.
    pub async fn move_to(&self, schema: &str) -> anyhow::Result<Result<Move, MoveProblem>> {
        schema_move::move_to(&self.pool, schema).await
    }

    /// Whether `schema` is that of the site's tables.
    pub fn is_of_site(&self, schema: &str) -> bool {
        self.site.as_ref().is_some_and(|site| site.name == schema)
    }

    /// Whether `schema` is set as that of Frontdesk's tables.
    pub fn is_own(&self, schema: &str) -> bool {
        self.own.as_deref() == Some(schema)
    }

    /// For the site's handlers.
    pub fn site_database(&self) -> Option<SiteDatabase> {
        let frontdesk_schema: Arc<str> = self.own.as_deref()?.into();
        let pool = self.site.as_ref()?.pool.clone();
        Some(SiteDatabase { pool, frontdesk_schema })
    }
}

fn without_comment(line: &str) -> &str {
    line.split("--").next().unwrap_or_default()
}

/// Whether a line of SQL has an identifier that is qualified with [`DEFAULT_SCHEMA`].
fn names_default_schema(line: &str) -> bool {
    let line = line.to_ascii_lowercase().replace('"', "");
    let qualified = format!("{DEFAULT_SCHEMA}.");
    line.match_indices(&qualified).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '_' | '.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qualified_name_is_found_and_a_comment_is_not() {
        for (line, is_found) in [
            ("owner uuid REFERENCES frontdesk.users (id)", true),
            ("SELECT 1 FROM \"Frontdesk\".users", true),
            ("frontdesk.users", true),
            ("SELECT my_frontdesk.users", false),
            ("x.frontdesk.y", false),
            ("SELECT 1 -- frontdesk.users", false),
            ("REFERENCES users (id)", false),
        ] {
            assert_eq!(names_default_schema(without_comment(line)), is_found, "{line}");
        }
    }
}
