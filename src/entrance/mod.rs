//! Before you are signed in: register, sign in, sign out, and the links that are mailed to people.

pub mod forgot_password;
pub mod login;
pub mod logout;
pub mod register;
pub mod reset_password;
pub mod ticket;
pub mod undo_email_change;
pub mod verify_code;
pub mod verify_email;

mod link_gone;
