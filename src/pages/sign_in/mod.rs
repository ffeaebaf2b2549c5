//! Pages that need no session: registration, sign-in, sign-out, and the links sent by email.

pub mod forgot_password;
pub mod invitation;
pub mod login;
pub mod logout;
pub mod mailed_link;
pub mod register;
pub mod registration_cookie;
pub mod reset_password;
pub mod undo_email_change;
pub mod verify_code;
pub mod verify_email;

mod cookies_blocked;
mod ended_session;
mod link_gone;
