//! The command line, for operators. Contains no domain rules, and no SQL except the checks of `doctor`.

mod account;
mod arguments;
mod audit;
mod connection;
mod doctor;
mod event;
mod exit;
mod group;
mod mail;
mod migrate;
mod new;
mod new_passwords;
mod operator;
mod out;
mod prompt;
mod queue;
mod revoke;
mod session;
mod site;
mod template;
mod user;
mod user_email;
#[cfg(feature = "import")]
mod user_files;
#[cfg(not(feature = "import"))]
#[path = "no_user_files.rs"]
mod user_files;
mod values;

use std::process::ExitCode;
use std::sync::Arc;

use crate::config::{Config, KeyRequirement};
use crate::log;
use crate::program;
use crate::site::{Schemas, Site};
use arguments::{Arguments, Command, Migrate};
use connection::{close_after, connect, connect_to_change_users, open};
use exit::ExitStatus;
use out::sentence;
use site::Request;

/// The log filter of the server unless `RUST_LOG` is set. `sqlx_core::pool` is off because it logs every
/// refused or broken connection; `db` logs only the first. Spans are recorded from the level `info`.
const SERVER_LOG_FILTER: &str = "info,actix_server=warn,sqlx=warn,sqlx_core::pool=off";
/// The log filter of the other commands. They report errors of the database themselves.
const COMMAND_LOG_FILTER: &str = "warn,sqlx_core::pool=off";

/// The commands with their arguments and help, for a test that compares every help text.
pub fn command() -> clap::Command {
    site::with_new(<Arguments as clap::CommandFactory>::command())
}

/// Parses the arguments, runs the command, and returns its exit code.
pub fn main(mut website: Site) -> ExitCode {
    program::set_name();
    let request = match site::parse(&website) {
        Ok(request) => request,
        Err(problems) => {
            out::problem(&problems);
            return ExitStatus::InvalidUsage.into();
        }
    };
    if let Request::New(arguments) = &request {
        let status = new::run(arguments).unwrap_or_else(|error| {
            out::problem(&sentence(&error));
            ExitStatus::Failed
        });
        return status.into();
    }
    if matches!(request, Request::Own(Command::Routes)) {
        return site::print_routes(&website).into();
    }
    let keys = if matches!(request, Request::Own(Command::Migrate { .. })) {
        KeyRequirement::Optional
    } else {
        KeyRequirement::Required
    };
    let config = match site::read_settings(&mut website, keys) {
        Ok(config) => config,
        Err(errors) => {
            out::problem(&errors.to_string());
            return ExitStatus::InvalidUsage.into();
        }
    };
    if let Request::Own(Command::Migrate { action: Migrate::Roles { print: true } }) = request {
        return migrate::print_roles(&config, &website).into();
    }
    let serves = matches!(request, Request::Own(Command::Serve));
    let filter = if serves { SERVER_LOG_FILTER } else { COMMAND_LOG_FILTER };
    if let Err(error) = log::start(config.log, filter) {
        out::problem(&format!("Logging cannot be started: {error}."));
        return ExitStatus::Failed.into();
    }
    let result = actix_web::rt::System::new().block_on(async {
        match request {
            // Done without settings, see above.
            Request::New(_) => Ok(ExitStatus::Done.into()),
            Request::Own(command) => run(config, command, website).await.map(ExitCode::from),
            Request::Site(index, arguments) => site::run(&config, &website, index, arguments).await,
        }
    });
    let result = result.and_then(|status| match out::failure() {
        None => Ok(status),
        Some(error) => Err(anyhow::anyhow!("standard output cannot be written ({error})")),
    });
    let status = result.unwrap_or_else(|error| {
        // Written through the non-blocking log: a pipe that is not read must not prevent the server from
        // exiting.
        let print = if serves { log::print } else { out::problem };
        print(&sentence(&error));
        ExitStatus::of(&error).into()
    });
    log::flush();
    status
}

async fn run(config: Config, command: Command, website: Site) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Serve => {
            crate::server::run(config, Arc::new(website)).await.map(|()| ExitStatus::Done)
        }
        // Printed without settings, see `main`.
        Command::Routes => Ok(ExitStatus::Done),
        Command::Template { action } => template::run(&config, &website, action),
        Command::Doctor { json } => doctor::run(&config, &website, json).await,
        Command::Migrate { action } => {
            let database = open(&config).await?;
            let schemas = Schemas::new(&config, &database, &website)?;
            close_after(migrate::run(&database, &schemas, action).await, database).await
        }
        Command::User { action } => {
            let hooks = site::hooks(&config, &website)?;
            let database = if action.changes_users() {
                connect_to_change_users(&config, &website).await?
            } else {
                connect(&config, &website).await?
            };
            close_after(user::run(&config, &database, &hooks, action).await, database).await
        }
        Command::Group { action } => {
            let database = connect(&config, &website).await?;
            close_after(group::run(&database, action).await, database).await
        }
        Command::Audit(arguments) => {
            let database = connect(&config, &website).await?;
            close_after(audit::run(&database, arguments).await, database).await
        }
        Command::Session { action } => {
            let database = connect(&config, &website).await?;
            close_after(session::run(&config, &database, action).await, database).await
        }
        Command::Mail { action } => {
            let database = connect(&config, &website).await?;
            close_after(mail::run(&database, action).await, database).await
        }
        Command::Event { action } => {
            let database = connect(&config, &website).await?;
            close_after(event::run(&database, action).await, database).await
        }
        Command::Queue { action } => {
            let database = connect(&config, &website).await?;
            close_after(queue::run(&database, action).await, database).await
        }
    }
}
