//! Before you are signed in: register, sign in, sign out.

pub mod login;
pub mod logout;
pub mod register;
