//! Who runs the command, for the audit log.

use crate::audit::Origin;
use crate::config;

/// The origin of what this command does.
pub(super) fn operator() -> Origin {
    Origin::operator(config::operator_name())
}
