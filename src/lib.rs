//! Frontdesk: sign-in, sessions and account pages for a website, one binary on PostgreSQL.
//!
//! The server keeps the session; the browser holds an opaque reference in a cookie. The rooms below
//! stand in reading order, and each may only look down (`tests/arrows.rs` keeps it so):
//!
//! 1. the top wires everything together,
//! 2. rooms of pages answer requests and never name each other,
//! 3. `auth` says who is asking, `app` what a handler may reach,
//! 4. engines know rules and SQL and never see a page,
//! 5. `kit` is what any HTTP room needs,
//! 6. the ground knows nothing above itself.

// ── the top
pub mod cli;
pub mod housekeeping;
pub mod metrics;
pub mod routes;
pub mod server;

// ── rooms of pages
pub mod account;
pub mod entrance;
pub mod health;
pub mod home;
pub mod mailbox;

// ── between pages and engines
pub mod app;
pub mod auth;

// ── engines
pub mod audit;
pub mod mail;
pub mod session;
pub mod user;

// ── the HTTP kit
pub mod kit;

// ── the ground
pub mod background;
pub mod config;
pub mod db;
pub mod durable;
pub mod id;
pub mod log;
pub mod seal;
pub mod secret;
pub mod templates;
