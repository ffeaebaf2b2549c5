//! Who caused an event, and from where.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who did it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// Somebody at a page.
    #[default]
    User,
    /// Somebody at the command line.
    Operator,
    /// The program by itself.
    System,
}

impl Actor {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Actor::User => "user",
            Actor::Operator => "operator",
            Actor::System => "system",
        }
    }
}

/// Where something comes from: carried from the request to the row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// Who did it.
    pub actor: Actor,
    /// The client's address.
    pub ip_address: Option<IpAddr>,
    /// What the browser calls itself, at most 512 bytes, no control characters.
    pub user_agent: Option<String>,
    /// The id in the log lines of the request.
    pub request_id: Option<Uuid>,
}

impl Origin {
    /// Somebody at the command line.
    pub fn operator() -> Self {
        Self { actor: Actor::Operator, ..Self::default() }
    }

    /// The program by itself.
    pub fn system() -> Self {
        Self { actor: Actor::System, ..Self::default() }
    }
}
