//! What the jobs and commands of a site get.

use super::database::Pool;
use crate::events::Mailer;

/// What a job gets, see [`Website::job`](crate::Website::job).
///
/// ```
/// use frontdesk::{BoxError, JobContext, sqlx};
///
/// async fn forget_old_notes(job: JobContext) -> Result<(), BoxError> {
///     let delete = sqlx::query("DELETE FROM notes WHERE written_at < now() - interval '1 year'");
///     delete.execute(&**job.pool()).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct JobContext {
    pool: Pool,
    mailer: Mailer,
}

impl JobContext {
    pub(super) fn new(pool: Pool, mailer: Mailer) -> Self {
        Self { pool, mailer }
    }

    /// The site's connections for jobs: up to four, without a statement timeout.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The site's mail.
    pub fn mailer(&self) -> &Mailer {
        &self.mailer
    }
}

/// What a command gets, see [`Website::command`](crate::Website::command).
///
/// ```
/// use std::ffi::OsString;
/// use std::process::ExitCode;
///
/// use frontdesk::{BoxError, CommandContext, sqlx};
///
/// async fn count(command: CommandContext, _: Vec<OsString>) -> Result<ExitCode, BoxError> {
///     let select = sqlx::query_scalar("SELECT count(*) FROM notes");
///     let notes: i64 = select.fetch_one(&**command.pool()).await?;
///     println!("{notes} notes");
///     Ok(ExitCode::SUCCESS)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct CommandContext {
    pool: Pool,
    mailer: Mailer,
}

impl CommandContext {
    pub(super) fn new(pool: Pool, mailer: Mailer) -> Self {
        Self { pool, mailer }
    }

    /// The site's connections for commands: up to four, without a statement timeout.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The site's mail.
    pub fn mailer(&self) -> &Mailer {
        &self.mailer
    }
}
