//! What can be typed: commands, their arguments, and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::user::password;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  it failed; the reason is on standard error
  2  wrong use, or a setting that is wrong
  3  there is no such account, session or mail, or nothing to do
  4  doctor found a problem

Settings come from the environment and from .env; .env.example explains each.";

/// Sign-in, sessions and account pages for a website, on PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "frontdesk", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the site (what happens without a command)
    Serve,
    /// Look after the database schema
    Migrate {
        #[command(subcommand)]
        action: Migrate,
    },
    /// Check settings, database, schema, clocks, keys, cookies and mail, and say what to fix
    Doctor {
        /// One JSON object for machines
        #[arg(long)]
        json: bool,
    },
    /// Look after accounts
    #[command(
        after_help = "Examples:\n  frontdesk user create ada@example.com --name Ada\n  pass show ada | frontdesk user set-password ada@example.com\n  frontdesk user disable ada@example.com\n  frontdesk user import people.csv --dry-run"
    )]
    User {
        #[command(subcommand)]
        action: User,
    },
    /// Read the trail: what happened to accounts and sessions, newest first
    #[command(
        after_help = "Examples:\n  frontdesk audit --user ada@example.com --since 2h\n  frontdesk audit --event sign_in_refused --follow --json"
    )]
    Audit(Audit),
    /// Look after sessions
    #[command(
        after_help = "Examples:\n  frontdesk session list --user ada@example.com\n  frontdesk session revoke 01a20ac9-362c-7088-badc-46d695f6783a\n  frontdesk session revoke --all --yes"
    )]
    Session {
        #[command(subcommand)]
        action: Session,
    },
    /// Look after the mail that is to be sent
    #[command(
        after_help = "Examples:\n  frontdesk mail list --state failed\n  frontdesk mail retry 01a20ac9-362c-7088-badc-46d695f6783a\n  frontdesk mail retry --failed"
    )]
    Mail {
        #[command(subcommand)]
        action: Mail,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Migrate {
    /// Apply what is pending; the same as `sqlx migrate run`
    Run,
    /// Take back the newest migration; the data in its tables goes with it
    Revert {
        /// Take back all of them
        #[arg(long)]
        all: bool,
    },
    /// Make the roles frontdesk_app and frontdesk_reader, with the least they need; again after each migration
    Roles {
        /// Only show the SQL
        #[arg(long)]
        print: bool,
    },
    /// List the migrations and when each was applied
    Info {
        /// A JSON array for machines
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Make an account; the password is asked for, or read from standard input
    Create {
        /// The address to sign in with
        email: String,
        /// What pages call this person
        #[arg(long)]
        name: String,
        /// Give it the role admin
        #[arg(long)]
        admin: bool,
    },
    /// List accounts, newest first
    List {
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        /// A JSON array for machines
        #[arg(long)]
        json: bool,
    },
    /// Show one account
    Show {
        #[command(flatten)]
        who: Who,
        /// A JSON object for machines
        #[arg(long)]
        json: bool,
    },
    /// Refuse sign-in and end all sessions of an account
    Disable {
        #[command(flatten)]
        who: Who,
    },
    /// Allow sign-in again
    Enable {
        #[command(flatten)]
        who: Who,
    },
    /// Delete an account at once, without days of grace
    Delete {
        #[command(flatten)]
        who: Who,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Set a new password and end all sessions; it is asked for, or read from standard input
    SetPassword {
        #[command(flatten)]
        who: Who,
    },
    /// Forget the failed tries of an account, so that it may be tried again at once
    Unlock {
        #[command(flatten)]
        who: Who,
    },
    /// Make somebody an admin, or with --demote a user again; ends all their sessions
    Promote {
        #[command(flatten)]
        who: Who,
        /// The other way round
        #[arg(long)]
        demote: bool,
    },
    /// Bring people along from another system, with the passwords they have; again goes on where it was interrupted
    #[command(after_help = IMPORT)]
    Import(Import),
    /// Write everybody to a file that `user import` reads
    Export(Export),
}

const IMPORT: &str = "Columns of CSV, keys of JSON lines; all but email may be missing:
  email            who is there already is left as they are, and counted
  display_name     else the part of the address before the @
  password_hash    of Django, Devise, Laravel, Node, Werkzeug, or a PHC string; argon2id after the next sign-in
  hash_format      better-auth or node-scrypt, for hashes that do not say what they are
  role             user or admin
  email_verified, disabled                           true, false, or since when
  created_at, password_changed_at, deletion_due_at   like 2026-11-23T21:27:00Z

Exit codes: 0 all taken; 1 lines were rejected (each named on standard error), or it failed; 3 nothing to do.";

#[derive(Debug, Args)]
pub(super) struct Import {
    /// CSV or JSON lines; - reads standard input
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// What the file is; else its first character tells
    #[arg(long, value_enum)]
    pub(super) format: Option<FileFormat>,
    /// Check every line, say what would be done, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// What password hashes are that do not say it themselves
    #[arg(long, value_enum)]
    pub(super) hash_format: Option<HashFormat>,
    /// Take the role admin as it stands in the file
    #[arg(long)]
    pub(super) allow_admins: bool,
    /// Write rejected lines here: number and reason
    #[arg(long, value_name = "FILE")]
    pub(super) rejects: Option<PathBuf>,
    /// A JSON object for machines
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// A new file, for its owner alone; without it, standard output
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// What to write; else the ending of the file tells, else CSV
    #[arg(long, value_enum)]
    pub(super) format: Option<FileFormat>,
    /// Password hashes too: whoever has the file can guess passwords at leisure
    #[arg(long)]
    pub(super) with_hashes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FileFormat {
    Csv,
    Jsonl,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum HashFormat {
    /// salt:key in hex, as Better Auth makes it (scrypt, N=16384, r=16, p=1)
    BetterAuth,
    /// salt:key in hex, by Node's crypto.scrypt with its defaults (N=16384, r=8, p=1)
    NodeScrypt,
}

impl From<HashFormat> for password::hasher::HashFormat {
    fn from(format: HashFormat) -> Self {
        match format {
            HashFormat::BetterAuth => Self::BetterAuth,
            HashFormat::NodeScrypt => Self::NodeScrypt,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Only this account (email address or id; the id also of one that is gone)
    #[arg(long, value_name = "EMAIL|ID")]
    pub(super) user: Option<String>,
    /// Only this event, such as signed_in or session_ended
    #[arg(long, value_name = "NAME")]
    pub(super) event: Option<String>,
    /// Only what happened in this time, such as 30m, 2h or 7d
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    pub(super) limit: i64,
    /// Go on with what happens, oldest first, until stopped
    #[arg(long)]
    pub(super) follow: bool,
    /// A JSON object a line for machines
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Who {
    /// Email address or id
    #[arg(value_name = "EMAIL|ID")]
    pub(super) who: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// List who is signed in, last seen first
    List {
        /// Only this account (email address or id)
        #[arg(long, value_name = "EMAIL|ID")]
        user: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
        limit: i64,
        /// A JSON array for machines
        #[arg(long)]
        json: bool,
    },
    /// End one session, all of one account, or all there are
    Revoke {
        /// The id that `session list` shows
        #[arg(required_unless_present_any = ["user", "all"], conflicts_with_all = ["user", "all"])]
        id: Option<String>,
        /// All sessions of this account (email address or id)
        #[arg(long, value_name = "EMAIL|ID", conflicts_with = "all")]
        user: Option<String>,
        /// Everybody's
        #[arg(long)]
        all: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// The table in figures: sessions by state, age, device; sizes; what waits to be deleted
    Stats {
        /// A JSON object for machines
        #[arg(long)]
        json: bool,
    },
    /// Delete expired sessions now; the server does it by itself as well
    Purge {
        /// A JSON object for machines
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Mail {
    /// List mail and what became of it, the newest first; never what it says
    List {
        /// Only mail in this state
        #[arg(long, value_parser = ["waiting", "sent", "kept", "failed"])]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        /// A JSON array for machines
        #[arg(long)]
        json: bool,
    },
    /// Send again what failed or was kept, or now what waits for a later attempt; a running server does it
    Retry {
        /// The id that `mail list` shows
        #[arg(required_unless_present = "failed", conflicts_with = "failed")]
        id: Option<String>,
        /// All that failed
        #[arg(long)]
        failed: bool,
    },
}
