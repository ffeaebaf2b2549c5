//! The site's own mail, from everywhere that a site may send it.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use frontdesk::events::{Registered, SignedIn};
use frontdesk::sqlx::{self, PgConnection};
use frontdesk::{
    BoxError, CommandContext, CurrentUser, Error, HookResult, JobContext, Mailer, Pool, Routes,
    Website,
};
use serde_json::json;

pub fn routes(routes: &mut Routes) {
    routes.post("/remind", remind).post("/remind-and-fail", remind_and_fail);
    routes.post("/unknown-mail", unknown_mail);
}

/// With `SITE_MAILS`, hooks and a job send mail too.
pub fn add(website: Website) -> Website {
    let website = website.command("remind", "Remind a user", remind_by_command);
    if std::env::var_os("SITE_MAILS").is_none() {
        return website;
    }
    let website = website.on_registered(welcome).after_sign_in(greet);
    website.job("remind", Duration::from_secs(3600), remind_by_job)
}

async fn remind(user: CurrentUser, pool: Pool, mailer: Mailer) -> Result<String, Error> {
    let outcome = pool.transaction(move |connection| {
        Box::pin(async move {
            let data = json!({ "text": "<b>Milk</b>", "site": "not replaced" });
            let outcome = mailer.enqueue(connection, user.id(), "reminder", &data).await?;
            // The transaction goes on, in the schema of the site.
            sqlx::query("INSERT INTO ticks DEFAULT VALUES").execute(connection).await?;
            Ok(outcome)
        })
    });
    Ok(format!("{:?}", outcome.await?))
}

async fn remind_and_fail(user: CurrentUser, pool: Pool, mailer: Mailer) -> Result<String, Error> {
    let failing = pool.transaction(move |connection| {
        Box::pin(async move {
            let data = json!({ "text": "never sent" });
            mailer.enqueue(connection, user.id(), "reminder", &data).await?;
            Err(Error::bad_request())
        })
    });
    failing.await
}

async fn unknown_mail(user: CurrentUser, pool: Pool, mailer: Mailer) -> Result<String, Error> {
    let mut connection = pool.acquire().await?;
    mailer.enqueue(&mut connection, user.id(), "new_device", &json!({})).await?;
    Ok(String::new())
}

async fn welcome(event: Registered, connection: &mut PgConnection, mailer: Mailer) -> HookResult {
    mailer.enqueue(connection, event.user, "reminder", &json!({ "text": "welcome" })).await?;
    if event.email.starts_with("undone") {
        return Err("it was asked to fail".into());
    }
    Ok(())
}

/// On a connection without a transaction.
async fn greet(event: SignedIn, connection: &mut PgConnection, mailer: Mailer) -> HookResult {
    mailer.enqueue(connection, event.user, "reminder", &json!({ "text": "greeting" })).await?;
    Ok(())
}

async fn remind_by_job(job: JobContext) -> Result<(), BoxError> {
    let mut connection = job.pool().acquire().await?;
    let select = "SELECT id FROM user_profiles WHERE email = 'job@example.com'";
    for user in sqlx::query_scalar(select).fetch_all(&mut *connection).await? {
        let data = json!({ "text": "job" });
        job.mailer().enqueue(&mut connection, user, "reminder", &data).await?;
    }
    Ok(())
}

async fn remind_by_command(
    command: CommandContext,
    arguments: Vec<OsString>,
) -> Result<ExitCode, BoxError> {
    let email = arguments.first().and_then(|email| email.to_str()).unwrap_or_default();
    let mut connection = command.pool().acquire().await?;
    let select = sqlx::query_scalar("SELECT id FROM user_profiles WHERE email = $1").bind(email);
    let user = select.fetch_optional(&mut *connection).await?.unwrap_or_default();
    let data = json!({ "text": "command" });
    let outcome = command.mailer().enqueue(&mut connection, user, "reminder", &data).await?;
    println!("{outcome:?}");
    Ok(ExitCode::SUCCESS)
}
