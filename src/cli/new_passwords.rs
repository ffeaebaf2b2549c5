//! `frontdesk user require-new-password`: for one account, or for all in batches.

use serde_json::json;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::exit::ExitStatus;
use super::operator::operator;
use super::values::{AccountName, PointInTime};
use super::{account, out, prompt};
use crate::config::Config;
use crate::crypto::seal::Sealer;
use crate::db::Database;
use crate::id::UserId;
use crate::program;
use crate::session::await_invalidation;
use crate::user::password::require_new::{self, Required};

pub(super) async fn of_one(
    config: &Config,
    database: &Database,
    account: &AccountName,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let sealer = Sealer::new(config.secret_keys()?.as_slice());
    let done = require_new::of_user(&database.pool, &sealer, user.id, operator()).await?;
    await_invalidation(&database.pool, None).await;
    if json {
        return report(done);
    }
    out::line(&match done.mails {
        0 if user.disabled_at.is_some() => format!(
            "{} was signed out everywhere and no longer has a password. The account is disabled, so no mail was sent.",
            user.email
        ),
        0 => format!(
            "{0} was signed out everywhere and no longer has a password. No mail was sent, because this email has got as much mail of this kind as it may get. Send a link later: {1} user reset {0}",
            user.email,
            program::name()
        ),
        _ => format!(
            "{} was signed out everywhere, no longer has a password, and gets a link to choose a new one.",
            user.email
        ),
    });
    Ok(ExitStatus::Done)
}

pub(super) async fn of_all(
    config: &Config,
    database: &Database,
    changed_before: Option<PointInTime>,
    yes: bool,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let pool = &database.pool;
    let before = changed_before.unwrap_or(PointInTime::Now).resolve(database).await?;
    let total = require_new::count(pool, before).await?;
    let question = format!("This signs out {total} user(s) and deletes their passwords.");
    if !prompt::is_confirmed(yes, &question) {
        return Ok(ExitStatus::InvalidUsage);
    }
    let sealer = Sealer::new(config.secret_keys()?.as_slice());
    let progress = out::Progress::new(total.unsigned_abs());
    let (mut after, mut done) = (UserId::from(Uuid::nil()), Required::default());
    loop {
        let batch = require_new::of_next_batch(pool, &sealer, after, before, operator()).await;
        let batch = batch.inspect_err(|_| {
            // With all its digits: a later time would include those who have chosen a new password since.
            out::problem(&format!(
                "Stopped after {} account(s). To continue: {} user require-new-password --all --changed-before {}",
                done.accounts,
                program::name(),
                before.format(&Rfc3339).unwrap_or_default()
            ));
        })?;
        let Some((last, batch)) = batch else { break };
        after = last;
        done.add(batch);
        progress.show(done.accounts);
    }
    progress.end();
    await_invalidation(pool, None).await;
    if json {
        return report(done);
    }
    out::line(&format!(
        "{} account(s) need a new password: {} session(s) revoked, {} mail(s) queued.",
        done.accounts, done.sessions, done.mails
    ));
    if done.failed > 0 {
        out::problem(&format!("{} account(s) could not be changed.", done.failed));
    }
    Ok(status(done))
}

fn report(done: Required) -> anyhow::Result<ExitStatus> {
    let Required { accounts, mails, sessions, failed } = done;
    out::json(
        &json!({ "accounts": accounts, "mails": mails, "sessions": sessions, "failed": failed }),
    )?;
    Ok(status(done))
}

fn status(done: Required) -> ExitStatus {
    match (done.failed, done.accounts) {
        (1.., _) => ExitStatus::Failed,
        (0, 0) => ExitStatus::NothingFound,
        (0, 1..) => ExitStatus::Done,
    }
}
