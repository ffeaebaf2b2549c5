//! `frontdesk user`: its arguments and their help.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use crate::cli::values::{self, AccountName, PointInTime};
use crate::mail::address::EmailAddress;
use crate::role::Role;
use crate::user::display_name::DisplayName;
use crate::user::password;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum User {
    /// Create an account with a password from standard input, or mail a link to choose one
    ///
    /// Without a password in the first line of standard input, and where mail is sent at a terminal too, a
    /// link to choose a password is mailed. Where no mail is sent, a terminal is asked for the password.
    Create {
        /// Email to sign in with
        #[arg(value_parser = values::email)]
        email: EmailAddress,
        /// Display name
        #[arg(long, value_parser = values::display_name)]
        name: DisplayName,
        /// Make the account an admin
        #[arg(long)]
        admin: bool,
    },
    /// List accounts, newest first
    List {
        /// Only accounts whose email or name contains this, or whose ID starts with it
        #[arg(long, value_name = "TEXT", value_parser = values::search)]
        search: Option<String>,
        /// Maximum number to list
        #[arg(long, default_value_t = 100, value_parser = values::limit::<100_000>, allow_negative_numbers = true)]
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
    /// Set a new password and revoke all sessions; only where no mail is sent
    ///
    /// Prompts for the password or reads it from standard input. Where mail is sent, `user reset` mails a link
    /// instead, so that only the user knows the password.
    SetPassword {
        #[command(flatten)]
        account: AccountArgument,
    },
    /// Mail a link to choose a new password; the current one works until then
    Reset {
        #[command(flatten)]
        account: AccountArgument,
    },
    /// Change the email of an account, notify both emails and revoke all sessions
    SetEmail {
        #[command(flatten)]
        account: AccountArgument,
        /// The new email; not verified until the mailed link is used
        #[arg(value_name = "NEW", value_parser = values::email)]
        new: EmailAddress,
    },
    /// Mark the email of an account as verified
    VerifyEmail {
        #[command(flatten)]
        account: AccountArgument,
    },
    /// Mail an invitation to create an account; works where registration is closed
    ///
    /// The link works for 7 days and proves the email. Inviting an email again replaces its invitation.
    Invite {
        /// Email to invite
        #[arg(value_parser = values::email)]
        email: EmailAddress,
        /// Display name that the form suggests
        #[arg(long, value_parser = values::display_name)]
        name: Option<DisplayName>,
        /// Role of the account
        #[arg(long, value_enum, default_value_t = RoleName::User)]
        role: RoleName,
    },
    /// Remove the password, revoke all sessions and mail a link to choose a new password
    #[command(group = ArgGroup::new("which").args(["account", "all"]).required(true).multiple(true))]
    RequireNewPassword {
        /// Email or ID
        #[arg(value_name = "EMAIL|ID", value_parser = values::account, conflicts_with = "all")]
        account: Option<AccountName>,
        /// All accounts that have a password
        #[arg(long)]
        all: bool,
        /// With --all: only passwords that were chosen before this time [default: now]
        #[arg(long, value_name = "TIME", value_parser = values::time, conflicts_with = "account")]
        changed_before: Option<PointInTime>,
        /// Skip the confirmation
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
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

impl User {
    /// Whether the command changes users, so that the hooks of the site must run.
    pub(in crate::cli) fn changes_users(&self) -> bool {
        !matches!(self, Self::List { .. } | Self::Show { .. } | Self::Export(_))
    }
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

Before an import, set the password of one account of the other system, export that account in the same
way, and run --check: for each format of hashes it says whether one of the first 100 matches.

Exit codes:
  0  All lines were accepted; with --check, a hash of each format matches
  1  Some lines were rejected (each is reported on standard error), or the import failed;
     with --check, also if no hash of a format matches
  2  Invalid arguments, or the columns of the CSV file are refused; nothing was imported
  3  Nothing to do";

#[derive(Debug, Args)]
pub(in crate::cli) struct Import {
    /// CSV or JSON Lines file; - reads standard input
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    /// File format [default: detected from the first character]
    #[arg(long, value_enum)]
    pub(in crate::cli) format: Option<FileFormat>,
    /// Check every line and report the result without writing anything
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Verify hashes of the file against the password in the first line of this file, write nothing; - reads
    /// standard input
    #[arg(long, value_name = "PASSWORD_FILE", conflicts_with = "rejects")]
    pub(in crate::cli) check: Option<PathBuf>,
    /// Format of password hashes that don't identify themselves
    #[arg(long, value_enum)]
    pub(in crate::cli) hash_format: Option<HashFormat>,
    /// Accept the role admin from the file
    #[arg(long)]
    pub(in crate::cli) allow_admins: bool,
    /// Ignore this column, although its name looks like one that is read; can be repeated
    #[arg(long, value_name = "COLUMN")]
    pub(in crate::cli) ignore: Vec<String>,
    /// Write the number of each rejected line and the reason to this new file
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) rejects: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    /// New file, readable only by its owner [default: standard output]
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// File format [default: detected from the file extension, otherwise CSV]
    #[arg(long, value_enum)]
    pub(in crate::cli) format: Option<FileFormat>,
    /// Include password hashes; anyone who has the file can attack them offline
    #[arg(long)]
    pub(in crate::cli) with_hashes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum FileFormat {
    Csv,
    Jsonl,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum RoleName {
    User,
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::User => Self::User,
            RoleName::Admin => Self::Admin,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum HashFormat {
    /// salt:key in hex, as created by Better Auth (scrypt, N=16384, r=16, p=1)
    BetterAuth,
    /// salt:key, the key in hex, the salt as the text that was passed to Node's crypto.scrypt, with its
    /// defaults (N=16384, r=8, p=1)
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
pub(in crate::cli) struct AccountArgument {
    /// Email or ID
    #[arg(value_name = "EMAIL|ID", value_parser = values::account)]
    pub(in crate::cli) account: AccountName,
}
