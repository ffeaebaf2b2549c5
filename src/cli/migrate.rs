//! The command `migrate`. Compatible with `sqlx migrate`: it uses the same files and the same table.

use sqlx::PgPool;

use super::arguments::Migrate;
use super::exit::ExitStatus;
use super::{out, prompt};
use crate::config::Config;
use crate::db::migrations::{MigrationStatus, Schema};
use crate::db::schema_move::Move;
use crate::db::{Database, migrations};
use crate::program;
use crate::site::{Schemas, Site};
use crate::web::relative_time;

/// Prints the SQL of `migrate roles`. Needs no database.
pub(super) fn print_roles(config: &Config, site: &Site) -> ExitStatus {
    if let Some(schema) = &config.schema {
        out::line(&format!("SET search_path = {schema};"));
    }
    if site.is_website() {
        out::line(&format!("SET frontdesk.site_schema = '{}';", config.site_schema));
    }
    out::line(migrations::ROLES.trim_end());
    ExitStatus::Done
}

pub(super) async fn run(
    database: &Database,
    schemas: &Schemas,
    action: Migrate,
) -> anyhow::Result<ExitStatus> {
    let pool = &database.pool;
    match action {
        Migrate::Run => {
            schemas.require_search_paths().await?;
            out::line(&match schemas.migrate(|_| {}).await? {
                0 => match schemas.check().await?? {
                    Schema::Current => "The schema is up to date.".to_owned(),
                    newer @ Schema::Newer { .. } => newer.to_string(),
                },
                count => format!("Applied {count} migration(s). The schema is up to date."),
            });
            Ok(ExitStatus::Done)
        }
        Migrate::Revert { all, to, frontdesk, yes } => {
            let of_site = schemas.has_site() && !frontdesk;
            let applied = schemas.revertible(of_site).await?;
            let target = match (all, to) {
                (true, _) => 0,
                (false, Some(version)) if version == 0 || applied.contains(&version) => version,
                (false, Some(version)) => {
                    out::problem(&format!("Migration {version} is not applied."));
                    return Ok(ExitStatus::InvalidUsage);
                }
                (false, None) => applied.iter().rev().nth(1).copied().unwrap_or(0),
            };
            let count = applied.iter().filter(|version| **version > target).count();
            if count == 0 {
                out::line("There is nothing to revert.");
                return Ok(ExitStatus::NothingFound);
            }
            let what = match count {
                1 => "the latest migration".to_owned(),
                count => format!("the {count} latest migrations"),
            };
            let whose = if of_site { " of the site" } else { "" };
            let question = format!(
                "Revert {what}{whose} in {}? The data in its tables and columns is deleted.",
                database.description()
            );
            if !prompt::is_confirmed(yes, &question) {
                return Ok(ExitStatus::InvalidUsage);
            }
            for version in schemas.revert(of_site, target).await? {
                out::line(&format!("Reverted {version}."));
            }
            Ok(ExitStatus::Done)
        }
        Migrate::Roles { .. } => {
            migrations::check(pool).await??;
            let names = schemas.grant_roles().await?;
            out::line(&format!(
                "The roles {} exist and have the privileges they need.",
                names.join(", ")
            ));
            Ok(ExitStatus::Done)
        }
        Migrate::Move { schema } => move_to(schemas, &schema).await,
        Migrate::Info { json } => info(pool, schemas, json).await,
    }
}

/// Moves the tables of Frontdesk, and says what follows.
async fn move_to(schemas: &Schemas, schema: &str) -> anyhow::Result<ExitStatus> {
    if schemas.is_of_site(schema) {
        out::problem(&format!(
            "{schema} is the schema of the site's tables (FRONTDESK_SITE_SCHEMA). Use two schemas."
        ));
        return Ok(ExitStatus::InvalidUsage);
    }
    let Move::Done { from } = schemas.move_to(schema).await?? else {
        out::line(&format!("The tables of Frontdesk are in the schema {schema} already."));
        return Ok(ExitStatus::NothingFound);
    };
    out::line(&format!("Moved the tables of Frontdesk from the schema {from} to {schema}."));
    if !schemas.is_own(schema) {
        out::line(&format!("Set FRONTDESK_SCHEMA={schema} for every program that uses them."));
    }
    out::line(&format!(
        "If you use its roles, run `{} migrate roles`, and grant those of the schema {schema} to the login of the servers.",
        program::name()
    ));
    Ok(ExitStatus::Done)
}

/// A migration in a list, with the record that it belongs to.
#[derive(serde::Serialize)]
struct Listed {
    ledger: &'static str,
    #[serde(flatten)]
    migration: MigrationStatus,
}

/// Lists the migrations of Frontdesk, and then those of the site.
async fn info(pool: &PgPool, schemas: &Schemas, json: bool) -> anyhow::Result<ExitStatus> {
    let of = |ledger| move |migration| Listed { ledger, migration };
    let mut listed: Vec<Listed> =
        migrations::info(pool).await?.into_iter().map(of("frontdesk")).collect();
    listed.extend(schemas.site_info().await?.into_iter().map(of("site")));
    if json {
        out::json(&listed)?;
    } else {
        let rows: Vec<[String; 4]> = listed
            .into_iter()
            .map(|Listed { ledger, migration }| {
                let applied =
                    migration.applied_at.map_or_else(|| "pending".to_owned(), relative_time::iso);
                [ledger.to_owned(), migration.version.to_string(), migration.description, applied]
            })
            .collect();
        out::table(["LEDGER", "VERSION", "DESCRIPTION", "APPLIED"], &rows);
    }
    schemas.check().await??;
    Ok(ExitStatus::Done)
}
