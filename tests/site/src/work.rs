//! Jobs and wrong definitions, which a test chooses with a setting.

use std::time::Duration;

use frontdesk::{BoxError, JobContext, Website, sqlx};

/// `SITE_JOBS`: jobs that fail, panic, and find out whether they run alone. `SITE_JOB`: a job with this name.
/// `SITE_COMMAND`: a command with this name. `SITE_BROKEN`: definitions that are wrong.
pub fn add(mut website: Website) -> Website {
    let text = |name: &str| std::env::var(name).ok().map(|text| &*text.leak());
    if text("SITE_JOBS").is_some() {
        let often = Duration::from_millis(20);
        website = website.job("fails", often, fails).job("panics", often, panics);
        website = website.job("alone", often, alone);
    }
    if let Some(name) = text("SITE_JOB") {
        website = website.job(name, Duration::from_secs(1), fails);
    }
    if let Some(name) = text("SITE_COMMAND") {
        website = website.command(name, "A command", |_, _| async { Err("not run".into()) });
    }
    if text("SITE_BROKEN").is_some() {
        website = website.job("tick", Duration::from_secs(1), fails);
        website = website.command("count", "Again", |_, _| async { Err("not run".into()) });
        website = website.settings::<()>("SHOP_").settings::<()>("FRONTDESK_SHOP_");
    }
    website
}

async fn fails(_: JobContext) -> Result<(), BoxError> {
    Err("there is nothing to do".into())
}

async fn panics(_: JobContext) -> Result<(), BoxError> {
    panic!("a bug in a job")
}

/// Fails if another server runs it at the same time.
#[expect(clippy::disallowed_methods, reason = "a job is not dropped half-way")]
async fn alone(job: JobContext) -> Result<(), BoxError> {
    let mut transaction = job.pool().begin().await?;
    let lock = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(4711)");
    if !lock.fetch_one(&mut *transaction).await? {
        return Err("it runs twice".into());
    }
    sqlx::query("SELECT pg_sleep(0.01)").execute(&mut *transaction).await?;
    sqlx::query("INSERT INTO ticks DEFAULT VALUES").execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}
