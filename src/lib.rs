//! Frontdesk: sign-in, sessions and account pages for a website, one binary on PostgreSQL.
//!
//! # Build a site on it
//!
//! A site has its own pages, templates, static files and tables. It gets accounts, sessions, recovery, mail, the
//! command line and a private PostgreSQL from this crate. `frontdesk new my-site` creates one, and `examples/notes` is
//! what it writes:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use frontdesk::{CurrentUser, Page, PageResult, Pool, Routes, Website, sqlx};
//! use serde_json::json;
//!
//! async fn list(user: CurrentUser, page: Page, pool: Pool) -> PageResult {
//!     let select = sqlx::query_scalar("SELECT body FROM notes WHERE owner_id = $1 LIMIT 200");
//!     let notes: Vec<String> = select.bind(user.id()).fetch_all(&*pool).await?;
//!     page.render("notes.html", &json!({ "notes": notes }))
//! }
//!
//! fn routes(routes: &mut Routes) {
//!     routes.template("/", "start.html").get("/notes", list);
//! }
//!
//! fn main() -> ExitCode {
//!     let website = Website::new(frontdesk::embed!()).name("Notes");
//!     website.routes(routes).navigation("Notes", "/notes").main()
//! }
//! ```
//!
//! | I want to … | with |
//! |---|---|
//! | define pages and their methods | [`Routes`] |
//! | require a signed-in user, or an administrator | [`CurrentUser`], [`Admin`] |
//! | ask for the password before a sensitive change | [`RecentlyAuthenticated`] |
//! | know who visits, if anyone is signed in | [`Visitor`] |
//! | render a template, redirect, say what was done | [`Page`], [`Notice`] |
//! | link to a page of Frontdesk | [`page_path`] |
//! | read a form and show it again with its errors | [`Form`], [`FormView`] |
//! | use the database | [`Pool`] |
//! | require a member of a group | [`Member`], [`Group`] |
//! | send mail | [`Mailer`] |
//! | show sentences of `locales/en/site.ftl` in Rust | [`Text`] |
//! | allow scripts, or images of another origin | [`Website::content_security_policy`] |
//! | keep a connection open, until its user signs out | [`CurrentUser::ended`], [`live`] |
//! | answer with an error page | [`Error`] |
//! | read cookies of the site | [`Cookies`] |
//! | remember something until the user signs out | [`SessionData`] |
//! | accept larger bodies, allow more time | [`Limits`] |
//! | have settings, shared state, periodic work, commands | [`Website`], [`Data`] |
//! | read parts of the path, or the query | [`Path`], [`Query`] |
//! | test the site | `testing`, with the feature of that name |
//! | do something when an account is created, changed or deleted | [`Website::on_registered`], [`events`] |
//!
//! # Use only its sessions
//!
//! `examples/minimal.rs` uses the session store with actix-session, without accounts and pages. What it uses may change
//! in any version.
//!
//! # How it is built
//!
//! Sessions are stored in the database, and the browser holds a random secret in a cookie. The modules below
//! are listed from the top layer to the lowest. A module imports only from its own layer and from lower ones,
//! which `tests/arrows.rs` checks:
//!
//! 1. `website` is the interface for sites that are built on this crate, and `testing` (a feature) for their
//!    tests. `cli` and `server` wire everything together.
//! 2. `pages` handles requests. `pages/sign_in` and `pages/account` do not import each other.
//! 3. `auth` authenticates requests. `app` is the state that handlers use.
//! 4. `user`, `session`, `mail`, `audit`, `peers` (the running servers) and `form_answers` (the answers to forms
//!    that arrive twice) are the domain: rules and SQL, without pages or requests.
//! 5. `site` is what a website adds to Frontdesk: routes, templates, migrations, jobs, commands.
//! 6. [`events`] is what happens to accounts, and the hooks of a site that it calls.
//! 7. `web` has the HTTP parts that all pages share: forms, errors, headers, cookies.
//! 8. The lowest layer: `db`, `config`, `crypto`, `background` (jobs), `log`, `durable` (files), `folder`,
//!    `id`, `language` (messages), `lifetimes`, `look` (colors, logo), `paths`, `program` (its name), `role`, `templates`, `unicode`.

// Public for the program, the tests and the benchmarks. Only what is visible in the documentation is stable.
// ── wiring
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod server;
mod website;

// ── tests of sites
#[cfg(feature = "testing")]
pub mod testing;

// ── pages
#[doc(hidden)]
pub mod pages;

// ── authentication
#[doc(hidden)]
pub mod app;
#[doc(hidden)]
pub mod auth;

// ── domain
#[doc(hidden)]
pub mod audit;
#[doc(hidden)]
pub mod form_answers;
#[doc(hidden)]
pub mod mail;
#[doc(hidden)]
pub mod peers;
#[doc(hidden)]
pub mod session;
#[doc(hidden)]
pub mod user;

// ── what a site adds
#[doc(hidden)]
pub mod site;

// ── hooks of a site
pub mod events;

// ── HTTP
#[doc(hidden)]
pub mod web;

// ── lowest layer
#[doc(hidden)]
pub mod background;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod crypto;
#[doc(hidden)]
pub mod db;
#[doc(hidden)]
pub mod durable;
#[doc(hidden)]
pub mod folder;
#[doc(hidden)]
pub mod id;
#[doc(hidden)]
pub mod language;
#[doc(hidden)]
pub mod lifetimes;
#[doc(hidden)]
pub mod log;
#[doc(hidden)]
pub mod look;
mod paths;
#[doc(hidden)]
pub mod program;
#[doc(hidden)]
pub mod role;
#[doc(hidden)]
pub mod templates;
#[doc(hidden)]
pub mod unicode;

#[doc(no_inline)]
pub use actix_web::web::{Data, Path, Query};
pub use events::{HookResult, MailOutcome, Mailer};
pub use language::Text;
pub use paths::page_path;
pub use site::{BoxError, Embedded, Routes};
pub use web::limits::Limits;
pub use website::{
    Admin, AssuranceLevel, CommandContext, ContentSecurityPolicy, Cookies, CurrentUser, Error,
    FieldErrors, Form, FormView, Group, JobContext, Member, Notice, Page, PageResult, Pool,
    RecentlyAuthenticated, SessionData, Time, UserRole, Visitor, Website,
};
#[doc(no_inline)]
pub use {actix_web, sqlx};

#[doc = include_str!("../docs/LIVE.md")]
pub mod live {
    pub use crate::session::live::EndReason;
    pub use crate::website::{Event, event_stream};
}

/// Makes mimalloc the memory allocator of the program. It is faster than the system's for the many small allocations of
/// a page, and returns memory to the system, but takes 20 MiB more at rest. Needs the feature `mimalloc`.
///
/// ```
/// frontdesk::use_mimalloc!();
/// # fn main() {}
/// ```
#[cfg(feature = "mimalloc")]
#[macro_export]
macro_rules! use_mimalloc {
    () => {
        #[global_allocator]
        static ALLOCATOR: $crate::__private::MiMalloc = $crate::__private::MiMalloc;
    };
}

/// For the macros [`embed!`] and [`use_mimalloc!`].
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "mimalloc")]
    pub use mimalloc::MiMalloc;
    pub use rust_embed;

    use crate::templates::Folder;

    /// The files of an embedded folder.
    pub fn folder<E: rust_embed::RustEmbed>() -> Folder {
        E::iter().filter_map(|path| Some((path.to_string(), E::get(&path)?.data))).collect()
    }
}
