//! `frontdesk migrate`. Compatible with `sqlx migrate`: it uses the same files and the same table.

use super::arguments::Migrate;
use super::exit::ExitStatus;
use super::out;
use crate::db::{Database, migrations};
use crate::web::relative_time;

pub(super) async fn run(database: &Database, action: Migrate) -> anyhow::Result<ExitStatus> {
    let pool = &database.pool;
    match action {
        Migrate::Run => {
            let pending_before = count_pending(&migrations::info(pool).await?);
            migrations::run(pool).await?;
            out::line(&match pending_before {
                0 => "The schema is up to date.".to_owned(),
                count => format!("Applied {count} migration(s). The schema is up to date."),
            });
            Ok(ExitStatus::Done)
        }
        Migrate::Revert { all } => {
            let reverted = migrations::revert(pool, all).await?;
            if reverted.is_empty() {
                out::line("There is nothing to revert.");
                return Ok(ExitStatus::NothingFound);
            }
            for version in reverted {
                out::line(&format!("Reverted {version}."));
            }
            Ok(ExitStatus::Done)
        }
        Migrate::Roles { print: true } => {
            out::line(migrations::ROLES.trim_end());
            Ok(ExitStatus::Done)
        }
        Migrate::Roles { print: false } => {
            migrations::check(pool).await??;
            migrations::grant_roles(pool).await?;
            out::line(
                "The roles frontdesk_app and frontdesk_reader exist and have the privileges they need.",
            );
            Ok(ExitStatus::Done)
        }
        Migrate::Info { json } => {
            let steps = migrations::info(pool).await?;
            if json {
                out::json(&steps)?;
            } else {
                let rows: Vec<[String; 3]> = steps
                    .iter()
                    .map(|step| {
                        let applied = step
                            .applied_at
                            .map_or_else(|| "pending".to_owned(), relative_time::iso);
                        [step.version.to_string(), step.description.clone(), applied]
                    })
                    .collect();
                out::table(["VERSION", "DESCRIPTION", "APPLIED"], &rows);
            }
            migrations::check(pool).await??;
            Ok(ExitStatus::Done)
        }
    }
}

fn count_pending(steps: &[migrations::MigrationStatus]) -> usize {
    steps.iter().filter(|step| step.applied_at.is_none()).count()
}
