//! Frontdesk: sign-in, sessions and account pages for a website, one binary on PostgreSQL.
//!
//! The server keeps the session; the browser holds an opaque reference in a cookie. The modules below
//! are listed from the top layer to the lowest. A module imports only from its own layer or from layers
//! below it (`tests/arrows.rs` checks it):
//!
//! 1. `cli` and `server` wire everything together.
//! 2. `pages` answers requests. The two folders of pages do not import each other.
//! 3. `auth` says who is asking. `app` holds what a handler may reach.
//! 4. `user`, `session`, `mail` and `audit` are the domain: rules and SQL, without pages or requests.
//! 5. `web` is what any page needs: forms, errors, headers, cookies.
//! 6. `db`, `config`, `crypto` and single files are the lowest layer.

// ── wiring
pub mod cli;
pub mod server;

// ── pages
pub mod pages;

// ── who is asking
pub mod app;
pub mod auth;

// ── domain
pub mod audit;
pub mod mail;
pub mod session;
pub mod user;

// ── HTTP
pub mod web;

// ── lowest layer
pub mod background;
pub mod config;
pub mod crypto;
pub mod db;
pub mod durable;
pub mod id;
pub mod log;
pub mod role;
pub mod templates;
