//! The command line: what operators do without a page. Decides nothing that an engine decides, and holds no SQL but
//! what `doctor` asks of the server.

mod arguments;
mod audit;
mod doctor;
mod exit;
mod mail;
mod migrate;
mod out;
mod prompt;
mod session;
mod user;
mod user_files;

use std::process::ExitCode;

use clap::Parser as _;

use crate::config::Config;
use crate::db::{self, Database, migrations};
use crate::log;
use arguments::{Arguments, Command};
use exit::ExitStatus;
use out::sentence;

/// What the server logs unless `RUST_LOG` is set. The pool of sqlx would log each refused connection; `db` logs the first.
const LOG_OF_SERVER: &str = "info,actix_server=warn,sqlx=warn,sqlx_core::pool=off";

/// The commands with their arguments and help, for a test that compares every help text.
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Reads the arguments, does what they say, and answers the exit code.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let command = arguments.command.unwrap_or(Command::Serve);
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(errors) => {
            out::problem(&errors.to_string());
            return ExitStatus::WrongUse.into();
        }
    };
    let serves = matches!(command, Command::Serve);
    let filter = if serves { LOG_OF_SERVER } else { "warn" };
    if let Err(error) = log::start(config.log, filter) {
        out::problem(&format!("Logging cannot be started: {error}."));
        return ExitStatus::Failed.into();
    }
    let done = actix_web::rt::System::new().block_on(run(config, command));
    let done = done.and_then(|ending| match out::failure() {
        None => Ok(ending),
        Some(error) => Err(anyhow::anyhow!("standard output cannot be written ({error})")),
    });
    let ending = done.unwrap_or_else(|error| {
        // The server must end although its log may not be read; a command waits for its reader.
        let say = if serves { log::print } else { out::problem };
        say(&sentence(&error));
        ExitStatus::Failed
    });
    log::flush();
    ending.into()
}

async fn run(config: Config, command: Command) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Serve => crate::server::run(config).await.map(|()| ExitStatus::Done),
        Command::Doctor { json } => doctor::run(&config, json).await,
        Command::Migrate { action } => {
            let database = db::connect(&config, true).await?;
            closing(migrate::run(&database, action).await, database).await
        }
        Command::User { action } => {
            let database = ready(&config).await?;
            closing(user::run(&config, &database, action).await, database).await
        }
        Command::Audit(wanted) => {
            let database = ready(&config).await?;
            closing(audit::run(&database, wanted).await, database).await
        }
        Command::Session { action } => {
            let database = ready(&config).await?;
            closing(session::run(&database, action).await, database).await
        }
        Command::Mail { action } => {
            let database = ready(&config).await?;
            closing(mail::run(&database, action).await, database).await
        }
    }
}

/// The database, with a schema that this program knows.
async fn ready(config: &Config) -> anyhow::Result<Database> {
    let database = db::connect(config, true).await?;
    match migrations::check(&database.pool).await {
        Ok(Ok(())) => Ok(database),
        Ok(Err(problem)) => closing(Err(problem.into()), database).await,
        Err(error) => closing(Err(error), database).await,
    }
}

/// Closes the database whatever happened; what happened first is what counts.
async fn closing<T>(done: anyhow::Result<T>, database: Database) -> anyhow::Result<T> {
    let closed = database.close().await;
    let done = done?;
    closed?;
    Ok(done)
}
