//! Who caused an event, and from where.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Who caused an event (`audit_events.actor`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A signed-in user or an anonymous client.
    #[default]
    User,
    /// An operator at the command line.
    Operator,
    /// A background job.
    System,
}

impl Actor {
    /// The stored text.
    pub fn as_str(self) -> &'static str {
        match self {
            Actor::User => "user",
            Actor::Operator => "operator",
            Actor::System => "system",
        }
    }
}

/// Who caused an event, and from where: passed from the request to the row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// Who caused the event.
    pub actor: Actor,
    /// The client's IP address.
    pub ip_address: Option<IpAddr>,
    /// The `User-Agent` header, at most 512 bytes, without control characters.
    pub user_agent: Option<String>,
    /// The id of the request, also in its log lines.
    pub request_id: Option<Uuid>,
    /// The login name of the operator, if a command caused the event.
    #[serde(default)]
    pub operator: Option<String>,
}

impl Origin {
    /// An operator at the command line, with their login name.
    pub fn operator(name: String) -> Self {
        Self { actor: Actor::Operator, operator: Some(name), ..Self::default() }
    }

    /// A background job.
    pub fn system() -> Self {
        Self { actor: Actor::System, ..Self::default() }
    }

    /// `details` with the login name of the operator, if there is one.
    pub(crate) fn with_operator(&self, mut details: Value) -> Value {
        if let (Some(name), Value::Object(details)) = (&self.operator, &mut details) {
            details.insert("operator".to_owned(), name.as_str().into());
        }
        details
    }
}
