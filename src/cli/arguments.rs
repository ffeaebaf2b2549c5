//! The commands, their arguments and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::user::password;

const EXIT_CODES: &str = "Exit codes:
  0  Success
  1  Failure; the reason is on standard error
  2  Invalid arguments or invalid configuration
  3  No such account, session or mail, or nothing to do
  4  `doctor` found a problem

Settings are read from the environment and from .env; .env.example describes them.";

/// Sign-in, sessions and account pages for a website, on PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "frontdesk", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the site (the default command)
    Serve,
    /// Manage the database schema
    Migrate {
        #[command(subcommand)]
        action: Migrate,
    },
    /// Check the configuration, the database and mail, and report problems
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Manage accounts
    #[command(
        after_help = "Examples:\n  frontdesk user create ada@example.com --name Ada\n  pass show ada | frontdesk user set-password ada@example.com\n  frontdesk user disable ada@example.com\n  frontdesk user import people.csv --dry-run"
    )]
    User {
        #[command(subcommand)]
        action: User,
    },
    /// Show the audit log, newest first
    #[command(
        after_help = "Examples:\n  frontdesk audit --user ada@example.com --since 2h\n  frontdesk audit --event sign_in_refused --follow --json"
    )]
    Audit(Audit),
    /// Manage sessions
    #[command(
        after_help = "Examples:\n  frontdesk session list --user ada@example.com\n  frontdesk session revoke 01a20ac9-362c-7088-badc-46d695f6783a\n  frontdesk session revoke --all --yes"
    )]
    Session {
        #[command(subcommand)]
        action: Session,
    },
    /// Manage outgoing mail
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
    /// Apply pending migrations, like `sqlx migrate run`
    Run,
    /// Revert the latest migration; the data in its tables is lost
    Revert {
        /// Revert all migrations
        #[arg(long)]
        all: bool,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Create the roles frontdesk_app and frontdesk_reader with least privilege; rerun after each migration
    Roles {
        /// Only print the SQL
        #[arg(long)]
        print: bool,
    },
    /// List migrations and when each was applied
    Info {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Create an account; prompts for the password or reads it from standard input
    Create {
        /// Email to sign in with
        email: String,
        /// Display name
        #[arg(long)]
        name: String,
        /// Make the account an admin
        #[arg(long)]
        admin: bool,
    },
    /// List accounts, newest first
    List {
        /// Maximum number to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one account
    Show {
        #[command(flatten)]
        account: AccountArgument,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Disable an account: refuse sign-in and revoke its sessions
    Disable {
        #[command(flatten)]
        account: AccountArgument,
    },
    /// Enable a disabled account
    Enable {
        #[command(flatten)]
        account: AccountArgument,
    },
    /// Delete an account immediately, without the grace period
    Delete {
        #[command(flatten)]
        account: AccountArgument,
        /// Skip the confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Set a new password and revoke all sessions; prompts for it or reads it from standard input
    SetPassword {
        #[command(flatten)]
        account: AccountArgument,
    },
    /// Clear the failed sign-in attempts of an account
    Unlock {
        #[command(flatten)]
        account: AccountArgument,
    },
    /// Make a user an admin and revoke their sessions
    Promote {
        #[command(flatten)]
        account: AccountArgument,
        /// Remove the admin role instead
        #[arg(long)]
        demote: bool,
    },
    /// Import users from another system, keeping their passwords; safe to rerun
    #[command(after_help = IMPORT)]
    Import(Import),
    /// Export all users in a format that `user import` reads
    Export(Export),
}

const IMPORT: &str = "CSV columns or JSON keys; only email is required:
  email            Existing accounts are left unchanged and counted
  display_name     Default: the part of the email before the @
  password_hash    From Django, Devise, Laravel, Node or Werkzeug, or a PHC string;
                   replaced by an argon2id hash at the next sign-in
  hash_format      better-auth or node-scrypt, for hashes that don't identify themselves
  role             user (default) or admin
  email_verified, disabled                           true, false, or a time
  created_at, password_changed_at, deletion_due_at   A time such as 2026-11-23T21:27:00Z

Exit codes:
  0  All lines were accepted
  1  Some lines were rejected (each is reported on standard error), or the import failed
  3  Nothing to do";

#[derive(Debug, Args)]
pub(super) struct Import {
    /// CSV or JSON Lines file; - reads standard input
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// File format [default: detected from the first character]
    #[arg(long, value_enum)]
    pub(super) format: Option<FileFormat>,
    /// Check every line and report the result without writing anything
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Format of password hashes that don't identify themselves
    #[arg(long, value_enum)]
    pub(super) hash_format: Option<HashFormat>,
    /// Accept the role admin from the file
    #[arg(long)]
    pub(super) allow_admins: bool,
    /// Write the number of each rejected line and the reason to this new file
    #[arg(long, value_name = "FILE")]
    pub(super) rejects: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// New file, readable only by its owner [default: standard output]
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// File format [default: detected from the file extension, otherwise CSV]
    #[arg(long, value_enum)]
    pub(super) format: Option<FileFormat>,
    /// Include password hashes; anyone who has the file can attack them offline
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
    /// salt:key in hex, as created by Better Auth (scrypt, N=16384, r=16, p=1)
    BetterAuth,
    /// salt:key in hex, as created by Node's crypto.scrypt with its defaults (N=16384, r=8, p=1)
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
    /// Only events of this account (email or ID; the ID of a deleted account works too)
    #[arg(long, value_name = "EMAIL|ID")]
    pub(super) user: Option<String>,
    /// Only events with this name, such as signed_in or session_ended
    #[arg(long, value_name = "NAME")]
    pub(super) event: Option<String>,
    /// Only events newer than this, such as 30m, 2h or 7d
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Maximum number to list
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    pub(super) limit: i64,
    /// Print new events as they happen, oldest first, until interrupted
    #[arg(long)]
    pub(super) follow: bool,
    /// Print JSON Lines: one object per event
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct AccountArgument {
    /// Email or ID
    #[arg(value_name = "EMAIL|ID")]
    pub(super) account: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// List active sessions, most recently seen first
    List {
        /// Only sessions of this account (email or ID)
        #[arg(long, value_name = "EMAIL|ID")]
        user: Option<String>,
        /// Maximum number to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
        limit: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke one session, all sessions of an account, or every session
    Revoke {
        /// Session ID, as shown by `session list`
        #[arg(required_unless_present_any = ["user", "all"], conflicts_with_all = ["user", "all"])]
        id: Option<String>,
        /// Revoke all sessions of this account (email or ID)
        #[arg(long, value_name = "EMAIL|ID", conflicts_with = "all")]
        user: Option<String>,
        /// Revoke every session
        #[arg(long)]
        all: bool,
        /// Skip the confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Show session statistics: counts by state, age and device, table size, purge backlog
    Stats {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete expired sessions now; the server also does this periodically
    Purge {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Mail {
    /// List mail and its delivery state, newest first; contents are never shown
    List {
        /// Only mail in this state
        #[arg(long, value_parser = ["waiting", "sent", "kept", "failed"])]
        state: Option<String>,
        /// Maximum number to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Retry failed, kept or delayed mail; a running server sends it
    Retry {
        /// Mail ID, as shown by `mail list`
        #[arg(required_unless_present = "failed", conflicts_with = "failed")]
        id: Option<String>,
        /// Retry all failed mail
        #[arg(long)]
        failed: bool,
    },
}
