//! The database connection of the commands.

use super::out;
use crate::config::Config;
use crate::db::migrations::Schema;
use crate::db::{self, Database, PrivateCluster};
use crate::site::{Schemas, Site, installation};

/// Connects to the database. A command never creates a private one: only the server does.
pub(super) async fn open(config: &Config) -> anyhow::Result<Database> {
    let database = db::connect(config, PrivateCluster::Existing).await?;
    if let Some(cluster) = database.cluster() {
        out::problem(&format!("Using the private database in {}.", cluster.data_dir().display()));
    }
    Ok(database)
}

/// Connects to the database and checks that this program can use its schema.
pub(super) async fn connect(config: &Config, site: &Site) -> anyhow::Result<Database> {
    let database = open(config).await?;
    let checked = match Schemas::new(config, &database, site) {
        Ok(schemas) => schemas.check().await,
        Err(error) => Err(error),
    };
    match checked {
        Ok(Ok(Schema::Current)) => Ok(database),
        Ok(Ok(newer @ Schema::Newer { .. })) => {
            out::problem(&newer.to_string());
            Ok(database)
        }
        Ok(Err(problem)) => close_after(Err(problem.into()), database).await,
        Err(error) => close_after(Err(error), database).await,
    }
}

/// Like [`connect`], and checks that this program has the hooks of the site.
pub(super) async fn connect_to_change_users(
    config: &Config,
    site: &Site,
) -> anyhow::Result<Database> {
    let database = connect(config, site).await?;
    match installation::check(&database.pool, &site.hook_names()).await {
        Ok(Ok(())) => Ok(database),
        Ok(Err(problem)) => close_after(Err(problem.into()), database).await,
        Err(error) => close_after(Err(error.into()), database).await,
    }
}

/// Closes the database in any case. An error in `result` takes precedence over an error of closing.
pub(super) async fn close_after<T>(
    result: anyhow::Result<T>,
    database: Database,
) -> anyhow::Result<T> {
    let closed = database.close().await;
    let value = result?;
    closed?;
    Ok(value)
}
