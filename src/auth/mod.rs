//! Who is asking: extractors for handlers, and how a session begins and ends. To protect a page, take
//! [`CurrentUser`].

mod admission;
mod confirmed;
mod current_user;
pub mod device;
mod first_factor;
mod proof;
mod sign_out;

pub use admission::{
    admit, admit_about, admit_in_session, count, count_about, count_in_session, who,
};
pub use confirmed::{Confirmed, FRESH_FOR, ask, ask_later};
pub use current_user::{CurrentUser, Visitor, recognize};
pub use first_factor::{FirstFactor, SignIn, first_factor};
pub use proof::{Proof, prove};
pub use sign_out::{go_on, sign_out};

use actix_web::HttpRequest;

use crate::audit::{Actor, Origin};
use crate::kit::client;
use crate::session::device::bounded_user_agent;

/// Where a request comes from, for the trail and the session's row.
pub fn origin(request: &HttpRequest) -> Origin {
    Origin {
        actor: Actor::User,
        ip_address: client::ip_address(request),
        user_agent: client::user_agent(request).map(bounded_user_agent),
        request_id: client::request_id(request),
    }
}
