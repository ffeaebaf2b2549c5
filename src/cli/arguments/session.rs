//! `frontdesk session`: its arguments and their help.

use clap::{ArgGroup, Subcommand};
use ipnet::IpNet;

use crate::cli::values::{self, AccountName, PointInTime};
use crate::id::SessionId;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Session {
    /// List active sessions, most recently seen first
    List {
        /// Only sessions of this account (email or ID)
        #[arg(long, value_name = "EMAIL|ID", value_parser = values::account)]
        user: Option<AccountName>,
        /// Maximum number to list
        #[arg(long, default_value_t = 100, value_parser = values::limit::<1_000_000>, allow_negative_numbers = true)]
        limit: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke one session, or all sessions that match the options
    #[command(group = ArgGroup::new("which").args(["id", "user", "network", "created_before", "all"]).required(true).multiple(true))]
    Revoke {
        /// Session ID, as shown by `session list`
        #[arg(value_parser = values::id::<SessionId>, conflicts_with_all = ["user", "network", "created_before", "all"])]
        id: Option<SessionId>,
        /// Only sessions of this account (email or ID)
        #[arg(long, value_name = "EMAIL|ID", value_parser = values::account, conflicts_with = "all")]
        user: Option<AccountName>,
        /// Only sessions whose sign-in came from this IP address or network
        #[arg(long, value_name = "CIDR", value_parser = values::network, conflicts_with = "all")]
        network: Option<IpNet>,
        /// Only sessions created before this time, or `now`; with --all also mailed links created before it
        #[arg(long, value_name = "TIME", value_parser = values::time)]
        created_before: Option<PointInTime>,
        /// Sessions of all accounts
        #[arg(long)]
        all: bool,
        /// Skip the confirmation
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show whose session a cookie belongs to; reads the value of the cookie from standard input
    Whose {
        /// Print JSON
        #[arg(long)]
        json: bool,
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
