//! The commands of a website's program: ours, and those of the site.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, CommandFactory as _, FromArgMatches as _, value_parser};

use super::arguments::{Arguments, Command};
use super::connection::{close_after, connect};
use super::exit::ExitStatus;
use super::new::New;
use super::out;
use crate::config::{self, Config, ConfigErrors, KeyRequirement, Program, missing_features};
use crate::crypto::seal::Sealer;
use crate::events::{Hooks, Mailer};
use crate::language::{self, Catalog};
use crate::mail::SiteMail;
use crate::program;
use crate::server::routes::PATHS;
use crate::site::Site;

/// What the command line asks for.
pub(super) enum Request {
    /// `new`, which only our own program has.
    New(New),
    /// One of our commands.
    Own(Command),
    /// A command of the site, by its position, and its arguments.
    Site(usize, Vec<OsString>),
}

/// Parses the command line. The error lists what is wrong with the definition of the site.
pub(super) fn parse(site: &Site) -> Result<Request, String> {
    let mut program = Arguments::command().bin_name(program::name());
    let is_own =
        |name: &str| name == "help" || program.get_subcommands().any(|own| own.get_name() == name);
    let problems = site.check(is_own);
    if !problems.is_empty() {
        return Err(format!("The site cannot start:\n  {}", problems.join("\n  ")));
    }
    for command in &site.commands {
        let rest = Arg::new("arguments")
            .num_args(0..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .value_parser(value_parser!(OsString));
        program =
            program.subcommand(clap::Command::new(command.name).about(command.about).arg(rest));
    }
    program = if site.is_website() { as_website(program, site) } else { with_new(program) };
    let mut matches = program.get_matches();
    if !site.is_website()
        && let Some(new) = matches.subcommand_matches("new")
    {
        return Ok(Request::New(New::from_arg_matches(new).unwrap_or_else(|error| error.exit())));
    }
    let is_chosen = |name: &str| site.commands.iter().position(|command| command.name == name);
    if let Some(index) = matches.subcommand_name().and_then(is_chosen) {
        let rest = matches.remove_subcommand().map(|(_, mut command)| {
            command.remove_many("arguments").map(Iterator::collect).unwrap_or_default()
        });
        return Ok(Request::Site(index, rest.unwrap_or_default()));
    }
    match Arguments::from_arg_matches_mut(&mut matches) {
        Ok(arguments) => Ok(Request::Own(arguments.command.unwrap_or(Command::Serve))),
        Err(error) => error.exit(),
    }
}

/// `program` with the command `new`. It is not one of [`Command`], because programs of sites do not have it.
pub(super) fn with_new(program: clap::Command) -> clap::Command {
    program.subcommand(New::command())
}

/// `program` with the name and the version of the site. clap takes only texts that live as long as the process.
fn as_website(program: clap::Command, site: &Site) -> clap::Command {
    let name = site.name.as_deref().unwrap_or(program::name());
    let (version, own) = (site.embedded.version, env!("CARGO_PKG_VERSION"));
    let about = format!("{name} {version}, built on frontdesk {own}");
    let version = format!("{version} ({name}, built on frontdesk {own})");
    program
        .display_name(program::name())
        .version(&*version.leak())
        .about(about)
        .mut_subcommand("routes", |routes| routes.hide(false))
}

/// Reads our settings, those of the site, and the folders that they name; all problems are reported together.
pub(super) fn read_settings(site: &mut Site, keys: KeyRequirement) -> Result<Config, ConfigErrors> {
    let settings = config::environment()?;
    let program = Program { site_name: site.name.as_deref(), is_website: site.is_website() };
    let own = Config::read(&settings, keys, program);
    let mut problems = missing_features(&settings);
    for of_site in std::mem::take(&mut site.settings) {
        match (of_site.read)(&settings) {
            Ok(data) => site.data.push(data),
            Err(ConfigErrors(found)) => problems.extend(found),
        }
    }
    if let Ok(config) = &own {
        problems.extend(site.add_folders(config));
    }
    match own {
        Err(ConfigErrors(mut all)) => {
            all.extend(problems);
            Err(ConfigErrors(all))
        }
        Ok(_) if !problems.is_empty() => Err(ConfigErrors(problems)),
        Ok(config) => Ok(config),
    }
}

/// `routes`.
pub(super) fn print_routes(site: &Site) -> ExitStatus {
    let rows: Vec<[String; 5]> = site
        .define_routes()
        .list()
        .map(|route| {
            let audience = match route.with_session {
                true => route.audience.to_string(),
                false => format!("{}, without session", route.audience),
            };
            let matched = route.matched(&PATHS);
            let note = matched.map(|own| format!("also matches {own}, which Frontdesk answers"));
            [
                route.method.to_string(),
                route.path.clone(),
                audience,
                route.defined_at.clone(),
                note.unwrap_or_default(),
            ]
        })
        .collect();
    out::table(["METHOD", "PATH", "WHO", "DEFINED AT", "NOTE"], &rows);
    ExitStatus::Done
}

/// The hooks of the site, for commands that change accounts.
pub(super) fn hooks(config: &Config, site: &Site) -> anyhow::Result<Hooks> {
    if site.hook_names().is_empty() {
        return Ok(Hooks::default());
    }
    let sealer = Sealer::new(config.secret_keys()?.as_slice());
    let mailer = mailer(config, site)?;
    Ok(Hooks::new(&site.hooks, config.site_search_path(), sealer, mailer))
}

/// The mail of the site, for its commands and hooks. Their texts are messages of the site from now on.
fn mailer(config: &Config, site: &Site) -> anyhow::Result<Mailer> {
    language::set_default(&Arc::new(Catalog::load(&site.templates().messages)));
    let sealer = Sealer::new(config.secret_keys()?.as_slice());
    Ok(Mailer::new(SiteMail::new(sealer, config.own_search_path(), &site.templates())))
}

/// Runs a command of the site.
pub(super) async fn run(
    config: &Config,
    site: &Site,
    index: usize,
    arguments: Vec<OsString>,
) -> anyhow::Result<ExitCode> {
    let mailer = mailer(config, site)?;
    let database = connect(config, site).await?;
    let pool = database.new_site_job_pool(config);
    let result = (site.commands[index].run)(pool.clone(), mailer, arguments).await;
    pool.close().await;
    close_after(result.map_err(anyhow::Error::from_boxed), database).await
}
