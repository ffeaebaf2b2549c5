//! The commands, their arguments and their help.

mod group;
mod session;
mod user;

use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use uuid::Uuid;

use super::values::{self, AccountName};
use crate::mail::address::EmailAddress;
use crate::program;
pub(super) use group::{Group, Membership};
pub(super) use session::Session;
#[cfg(feature = "import")]
pub(super) use user::FileFormat;
pub(super) use user::{AccountArgument, Export, Import, User};

const EXIT_CODES: &str = "Exit codes:
  0  Success
  1  Failure; the reason is on standard error
  2  Invalid arguments or input (such as a refused password), or invalid configuration
  3  No such account, group, session or mail, or nothing to do
  4  `doctor` or `template check` found a problem

Settings are read from the environment and from .env; .env.example describes them.";

/// Sign-in, sessions and account pages for a website, on PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "frontdesk", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// The examples of a command; `{}` stands for the name of the program.
fn examples(lines: &[&str]) -> String {
    let lines = lines.iter().map(|line| format!("\n  {}", line.replace("{}", program::name())));
    format!("Examples:{}", lines.collect::<String>())
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the site (the default command)
    Serve,
    /// List the routes of the site
    #[command(hide = true)]
    Routes,
    /// Manage the database schema
    Migrate {
        #[command(subcommand)]
        action: Migrate,
    },
    /// Check, list and copy templates of pages and mails
    #[command(
        after_help = examples(&[
        "{} template check",
        "{} template copy sign_in/login.html",
        "{} template diff",
    ])
    )]
    Template {
        #[command(subcommand)]
        action: Template,
    },
    /// Check the configuration, the templates, the database and mail, and report problems
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Manage accounts
    #[command(
        after_help = examples(&[
        "{} user create ada@example.com --name Ada",
        "{} user reset ada@example.com",
        "{} user invite bob@example.com --name Bob",
        "{} user disable ada@example.com",
        "{} user list --search ada",
        "{} user require-new-password ada@example.com",
        "{} user import people.csv --dry-run",
    ])
    )]
    User {
        #[command(subcommand)]
        action: User,
    },
    /// Manage groups of users, for the access rules of a site
    #[command(
        after_help = examples(&[
        "{} group add editors --title Editors",
        "{} group add-member editors ada@example.com",
        "{} group show editors",
    ])
    )]
    Group {
        #[command(subcommand)]
        action: Group,
    },
    /// Show the audit log, newest first
    #[command(
        after_help = examples(&[
        "{} audit --user ada@example.com --since 2h",
        "{} audit --event sign_in_refused --follow --json",
    ])
    )]
    Audit(Audit),
    /// Manage sessions
    #[command(
        after_help = examples(&[
        "{} session list --user ada@example.com",
        "{} session revoke 01a20ac9-362c-7088-badc-46d695f6783a",
        "{} session revoke --network 203.0.113.0/24 --yes",
        "{} session revoke --all --created-before 2026-11-27T08:30:00Z --yes",
        "pbpaste | {} session whose",
    ])
    )]
    Session {
        #[command(subcommand)]
        action: Session,
    },
    /// Manage outgoing mail
    #[command(
        after_help = examples(&[
        "{} mail list --state failed",
        "{} mail retry 01a20ac9-362c-7088-badc-46d695f6783a",
        "{} mail retry --failed",
        "{} mail unsuppress ada@example.com",
    ])
    )]
    Mail {
        #[command(subcommand)]
        action: Mail,
    },
    /// Manage work of background jobs that failed: mail of registrations and forgotten passwords, due deletions
    Queue {
        #[command(subcommand)]
        action: Queue,
    },
    /// Manage events that hooks of the site get after they happened
    Event {
        #[command(subcommand)]
        action: Event,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Migrate {
    /// Apply pending migrations, like `sqlx migrate run`
    Run,
    /// Revert the latest migration; the data in its tables is lost
    Revert {
        /// Revert all migrations
        #[arg(long)]
        all: bool,
        /// Revert every migration that is newer than this one, by its number
        #[arg(long, value_name = "VERSION", conflicts_with = "all")]
        to: Option<i64>,
        /// In the program of a website: revert migrations of Frontdesk, and not the newest one of the site
        #[arg(long)]
        frontdesk: bool,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Create the roles frontdesk_app, frontdesk_reader and frontdesk_website with least privilege; rerun after each migration
    Roles {
        /// Only print the SQL
        #[arg(long)]
        print: bool,
    },
    /// Move the tables of Frontdesk into another schema, in one transaction; every server must be stopped
    Move {
        /// The schema; it is created if necessary
        #[arg(value_parser = values::schema)]
        schema: String,
    },
    /// List migrations and when each was applied
    Info {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Template {
    /// Render every page and mail in every state, and report missing values and mistakes in the markup
    Check,
    /// List the templates, the layer that each comes from, and their states
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy a template of Frontdesk into the folder of templates, to change it
    Copy {
        /// Its name, such as sign_in/login.html
        page: String,
    },
    /// Show what has changed in Frontdesk's templates since they were copied
    Diff {
        /// Only this template
        page: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Only events of this account (email or ID; the ID of a deleted account works too)
    #[arg(long, value_name = "EMAIL|ID", value_parser = values::account)]
    pub(super) user: Option<AccountName>,
    /// Only events with this name
    #[arg(long, value_name = "NAME", value_parser = values::event_names())]
    pub(super) event: Option<String>,
    /// Only events newer than this, such as 30m, 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(super) since: Option<Duration>,
    /// Maximum number to list
    #[arg(long, default_value_t = 100, value_parser = values::limit::<1_000_000>, allow_negative_numbers = true)]
    pub(super) limit: i64,
    /// Print new events as they happen, oldest first, until interrupted
    #[arg(long)]
    pub(super) follow: bool,
    /// Print JSON Lines: one object per event
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Mail {
    /// List mail and its delivery state, newest first; contents are never shown
    List {
        /// Only mail in this state
        #[arg(long, value_parser = ["waiting", "sent", "kept", "failed"])]
        state: Option<String>,
        /// List the recipients that get no mail instead
        #[arg(long, conflicts_with = "state")]
        suppressed: bool,
        /// Maximum number to list
        #[arg(long, default_value_t = 100, value_parser = values::limit::<100_000>, allow_negative_numbers = true)]
        limit: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Retry failed, kept or delayed mail; a running server sends it
    #[command(group = ArgGroup::new("which").args(["id", "failed", "kept"]).required(true).multiple(true))]
    Retry {
        /// Mail ID, as shown by `mail list`
        #[arg(value_parser = values::id::<Uuid>, conflicts_with_all = ["failed", "kept"])]
        id: Option<Uuid>,
        /// Retry all failed mail
        #[arg(long)]
        failed: bool,
        /// Send all mail that was kept because no mail server was configured
        #[arg(long)]
        kept: bool,
    },
    /// Send no mail to a recipient
    Suppress {
        /// Email of the recipient
        #[arg(value_parser = values::existing_email)]
        email: EmailAddress,
    },
    /// Send mail to a suppressed recipient again
    Unsuppress {
        /// Email of the recipient
        #[arg(value_parser = values::existing_email)]
        email: EmailAddress,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Event {
    /// List events and their state, newest first; emails are never shown
    List {
        /// Only events in this state
        #[arg(long, value_parser = ["waiting", "delivered", "failed"])]
        state: Option<String>,
        /// Maximum number to list
        #[arg(long, default_value_t = 100, value_parser = values::limit::<100_000>, allow_negative_numbers = true)]
        limit: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Deliver failed events again, for up to three days; a running server does it
    #[command(group = ArgGroup::new("which").args(["id", "all"]).required(true).multiple(true))]
    Retry {
        /// ID, as shown by `event list`
        #[arg(value_parser = values::id::<Uuid>, conflicts_with = "all")]
        id: Option<Uuid>,
        /// Retry everything that failed
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Queue {
    /// List what failed; what is set aside is not retried automatically
    List {
        /// Maximum number to list
        #[arg(long, default_value_t = 100, value_parser = values::limit::<10_000>, allow_negative_numbers = true)]
        limit: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Retry what failed; a running server does it
    #[command(group = ArgGroup::new("which").args(["id", "all"]).required(true).multiple(true))]
    Retry {
        /// ID, as shown by `queue list`
        #[arg(value_parser = values::id::<Uuid>, conflicts_with = "all")]
        id: Option<Uuid>,
        /// Retry everything
        #[arg(long)]
        all: bool,
    },
}
