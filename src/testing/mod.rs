//! Tests of a site. They run the site's program as a process of its own, so they test the program that is shipped.
//! Add the feature `testing` in the dev-dependencies of the site:
//!
//! ```toml
//! [dev-dependencies]
//! frontdesk = { path = "../frontdesk", features = ["testing"] }
//! ```
//!
//! A test is a plain `#[test]`; every call waits until it is done:
//!
//! ```no_run
//! use frontdesk::testing::TestServer;
//!
//! # const PROGRAM: &str = "";
//! # /*
//! #[test]
//! # */
//! fn a_note_is_visible_to_its_owner_only() {
//!     # /*
//!     let server = TestServer::start(env!("CARGO_BIN_EXE_notes"));
//!     # */
//!     # let server = TestServer::start(PROGRAM);
//!     let ada = server.browser().sign_in("ada@example.com");
//!     let bob = server.browser().sign_in("bob@example.com");
//!     assert_eq!(ada.post("/notes", [("body", "Milk")]).status(), 303);
//!     assert!(ada.get("/notes").text().contains("Milk"));
//!     assert!(!bob.get("/notes").text().contains("Milk"));
//! }
//! ```
//!
//! # PostgreSQL
//!
//! Each test has a database of its own, which is deleted at its end. It is copied from a template that has the
//! tables of Frontdesk and of the site. The template is created once for each build of the program.
//!
//! `TEST_DATABASE_URL` names a PostgreSQL whose login may create databases. Without it, a private PostgreSQL is
//! started beside the program, below `target/`; PostgreSQL must be installed. `DATABASE_URL` and every other
//! setting of the environment and of `.env` have no effect on tests: a test gives the program its settings with
//! [`TestServer::start_with`].
//!
//! The methods panic if something fails that no test can expect, for example if the program does not start. Then
//! the message contains its log.

mod accounts;
mod browser;
mod html;
mod mail;
mod postgres;
mod process;
mod server;
mod settings;
mod site;

pub use browser::{Browser, Response};
pub use mail::Mail;
pub use process::CommandOutput;
pub use server::TestServer;

/// The password of the accounts that [`Browser::sign_in`] creates.
///
/// ```no_run
/// # use frontdesk::testing::PASSWORD;
/// # let server = frontdesk::testing::TestServer::start("");
/// let browser = server.browser().sign_in("ada@example.com");
/// browser.get("/account/delete");
/// browser.submit("/account/delete", [("password", PASSWORD)]);
/// ```
pub const PASSWORD: &str = "old corner with a lamp";
