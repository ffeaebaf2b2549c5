//! Where a request comes from.

use actix_web::HttpRequest;

use crate::audit::{Actor, Origin};
use crate::session::user_agent::bounded_user_agent;
use crate::web::client;

/// The origin of a request, as the audit log and the row of a session keep it.
pub fn origin(request: &HttpRequest) -> Origin {
    Origin {
        actor: Actor::User,
        ip_address: client::ip_address(request),
        user_agent: client::user_agent(request).map(bounded_user_agent),
        request_id: client::request_id(request),
    }
}
