//! In place of user files, in a program without the feature `import`: the commands say so.

use sqlx::PgPool;

use super::arguments::{Export, Import};
use super::exit::ExitStatus;
use crate::config::{Config, MissingFeature};
use crate::events::Hooks;

/// Always an error.
pub(super) async fn import(
    _: &Config,
    _: &PgPool,
    _: &Hooks,
    _: Import,
) -> anyhow::Result<ExitStatus> {
    Err(MissingFeature { needed_by: "user import", feature: "import" }.into())
}

/// Always an error.
pub(super) async fn export(_: &PgPool, _: Export) -> anyhow::Result<ExitStatus> {
    Err(MissingFeature { needed_by: "user export", feature: "import" }.into())
}
