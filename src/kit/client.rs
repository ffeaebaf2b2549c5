//! Who is at the other end of the connection. Must never believe a header about it
//! (`ConnectionInfo` of actix-web believes anybody's).

use std::net::IpAddr;

use actix_web::http::header::USER_AGENT;
use actix_web::{HttpMessage as _, HttpRequest};
use uuid::Uuid;

/// The id of a request, in its log lines and on its error page.
#[derive(Clone, Copy, Debug)]
pub struct RequestId(pub Uuid);

/// The address of the peer; an IPv4 address in IPv6 clothes is told plainly.
pub fn ip_address(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|peer| peer.ip().to_canonical())
}

/// What the browser calls itself, as it came.
pub fn user_agent(request: &HttpRequest) -> Option<&str> {
    request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok())
}

/// The id of this request.
pub fn request_id(request: &HttpRequest) -> Option<Uuid> {
    request.extensions().get::<RequestId>().map(|id| id.0)
}
