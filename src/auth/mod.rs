//! Who is asking: extractors for handlers, and how a session begins and ends. To protect a page, take
//! [`CurrentUser`].

mod confirmed;
mod current_user;
mod first_factor;
pub mod known_device;
mod origin;
mod proof;
mod sign_out;

pub use confirmed::{RECENT_FOR, RecentlyAuthenticated, ask, ask_later};
pub use current_user::{CurrentUser, Visitor, recognize};
pub use first_factor::{FirstFactor, SignIn, first_factor};
pub use origin::origin;
pub use proof::{Reauthentication, reauthenticate};
pub use sign_out::{rotate_cookie, sign_out};
