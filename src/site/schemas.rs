//! The tables of Frontdesk and those of the site: two schemas, each with its own migrations. Those of Frontdesk
//! are applied first.

use std::sync::Arc;

use sqlx::PgPool;
use sqlx::migrate::Migration;

use super::{Site, SiteDatabase};
use crate::config::Config;
use crate::db::Database;
use crate::db::migrations::{self, MigrationStatus, Schema, SchemaProblem};
use crate::db::site_migrations::{self, SiteSchemaProblem};

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

    /// Applies the pending migrations of both. `report` gets messages about the progress.
    pub async fn migrate(&self, report: impl Fn(&str)) -> anyhow::Result<usize> {
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

    /// Reverts the newest migration of the site, and returns its version; `None` if there is none.
    pub async fn revert_site(&self) -> anyhow::Result<Option<i64>> {
        match &self.site {
            Some(site) => {
                site_migrations::revert(&site.pool, &site.name, site.migrations.clone()).await
            }
            None => Ok(None),
        }
    }

    /// For the site's handlers.
    pub fn site_database(&self) -> Option<SiteDatabase> {
        let frontdesk_schema: Arc<str> = self.own.as_deref()?.into();
        let pool = self.site.as_ref()?.pool.clone();
        Some(SiteDatabase { pool, frontdesk_schema })
    }
}
