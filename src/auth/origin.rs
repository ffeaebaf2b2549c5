//! The origin of a request.

use actix_web::HttpRequest;

use crate::audit::{Actor, Origin};
use crate::session::user_agent::bounded_user_agent;
use crate::web::client;

/// IP address, user agent and id of a request, as audit events and session rows store them.
pub fn origin(request: &HttpRequest) -> Origin {
    Origin {
        actor: Actor::User,
        ip_address: client::ip_address(request),
        user_agent: client::user_agent(request).map(bounded_user_agent),
        request_id: client::request_id(request),
        operator: None,
    }
}
