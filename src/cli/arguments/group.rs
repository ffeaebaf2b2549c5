//! `frontdesk group`: its arguments and their help.

use clap::Subcommand;

use super::user::AccountArgument;
use crate::cli::values;
use crate::user::groups::{GroupName, GroupTitle};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Group {
    /// Create a group
    Add {
        /// Lower-case letters, digits and hyphens
        #[arg(value_parser = values::parsed::<GroupName>)]
        name: GroupName,
        /// Name for people
        #[arg(long, value_parser = values::parsed::<GroupTitle>)]
        title: Option<GroupTitle>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List groups by name
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one group and its members
    Show {
        /// Name of the group
        #[arg(value_parser = values::parsed::<GroupName>)]
        name: GroupName,
        /// Maximum number of members to list
        #[arg(long, default_value_t = 100, value_parser = values::limit::<1_000_000>, allow_negative_numbers = true)]
        limit: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a group; its members lose the access that it gives immediately
    Remove {
        /// Name of the group
        #[arg(value_parser = values::parsed::<GroupName>)]
        name: GroupName,
        /// Skip the confirmation
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add an account to a group
    AddMember(Membership),
    /// Remove an account from a group; it loses the access that the group gives immediately
    RemoveMember(Membership),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Membership {
    /// Name of the group
    #[arg(value_parser = values::parsed::<GroupName>)]
    pub(in crate::cli) group: GroupName,
    #[command(flatten)]
    pub(in crate::cli) account: AccountArgument,
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}
