//! Frontdesk: sign-in, sessions and account pages for a website, one binary on PostgreSQL.
//!
//! Sessions are stored in the database, and the browser holds a random secret in a cookie. The modules below
//! are listed from the top layer to the lowest. A module imports only from its own layer and from lower ones,
//! which `tests/arrows.rs` checks:
//!
//! 1. `cli` and `server` wire everything together.
//! 2. `pages` handles requests. `pages/sign_in` and `pages/account` do not import each other.
//! 3. `auth` authenticates requests. `app` is the state that handlers use.
//! 4. `user`, `session`, `mail`, `audit`, `peers` (the running servers) and `form_answers` (the answers to forms
//!    that arrive twice) are the domain: rules and SQL, without pages or requests.
//! 5. `web` has the HTTP parts that all pages share: forms, errors, headers, cookies.
//! 6. The lowest layer: `db`, `config`, `crypto`, `background` (jobs), `log`, `durable` (files), `id`,
//!    `lifetimes`, `role`, `templates`, `unicode`.

// ── wiring
pub mod cli;
pub mod server;

// ── pages
pub mod pages;

// ── authentication
pub mod app;
pub mod auth;

// ── domain
pub mod audit;
pub mod form_answers;
pub mod mail;
pub mod peers;
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
pub mod lifetimes;
pub mod log;
pub mod role;
pub mod templates;
pub mod unicode;
