//! What a Rust developer builds a site with: the builder [`Website`], the extractors, and their values.

mod context;
mod cookies;
mod current_user;
mod database;
mod error;
mod form;
mod hooks;
mod live;
mod live_session;
mod mailer;
mod member;
mod page;
mod session_data;
mod settings;
mod time;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Data, ServiceConfig};
use serde::de::DeserializeOwned;
use sqlx::PgPool;

use crate::cli;
use crate::events::Mailer;
use crate::site::{
    self, AddData, BoxError, Embedded, NavigationEntry, Routes, Site, SiteCommand, SiteJob,
    SiteSettings,
};

pub use self::time::Time;
pub use crate::web::site_policy::ContentSecurityPolicy;
pub use context::{CommandContext, JobContext};
pub use cookies::Cookies;
pub use current_user::{
    Admin, AssuranceLevel, CurrentUser, RecentlyAuthenticated, UserRole, Visitor,
};
pub use database::Pool;
pub use error::{Error, PageResult};
pub use form::{FieldErrors, Form, FormView};
pub use live::{Event, event_stream};
pub use member::{Group, Member};
pub use page::{Notice, Page};
pub use session_data::SessionData;

/// A website with accounts. `main` of the site's program builds it and calls [`Website::main`].
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use frontdesk::{Routes, Website};
///
/// fn routes(routes: &mut Routes) {
///     routes.template("/", "start.html");
/// }
///
/// fn main() -> ExitCode {
///     Website::new(frontdesk::embed!()).name("Notes").routes(routes).main()
/// }
/// ```
pub struct Website(Site);

impl Website {
    /// A website with the files that [`embed!`](crate::embed) found. With [`Embedded::none`], it is the program
    /// `frontdesk`.
    pub fn new(embedded: Embedded) -> Self {
        Self(Site { embedded, ..Site::default() })
    }

    /// The default of the setting `FRONTDESK_SITE_NAME`, at most 64 characters.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.0.name = Some(name.into());
        self
    }

    /// Defines the routes. `define` is called several times: for each worker, and to check the routes before the
    /// server starts.
    #[track_caller]
    pub fn routes(mut self, define: impl Fn(&mut Routes) + Send + Sync + 'static) -> Self {
        if self.0.routes.is_some() {
            self.0.problems.push(format!(
                "Website::routes is called twice ({}). Define all routes in one function.",
                site::place()
            ));
        }
        self.0.routes = Some(Arc::new(define));
        self
    }

    /// Adds an entry to the navigation of all pages, after those that were added before.
    pub fn navigation(mut self, label: impl Into<String>, path: impl Into<String>) -> Self {
        self.0.navigation.push(NavigationEntry { label: label.into(), path: path.into() });
        self
    }

    /// Shared state, which handlers extract as [`Data<T>`](crate::Data).
    pub fn data<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.0.data.push(share(value));
        self
    }

    /// The site's own settings: the environment and `.env`, where every name begins with `prefix` (`"NOTES_"`). The
    /// field `page_size` of `T` is the setting `NOTES_PAGE_SIZE`, or the content of the file that
    /// `NOTES_PAGE_SIZE_FILE` names. Handlers extract them as [`Data<T>`](crate::Data). What is wrong with them is
    /// reported together with our settings, at start.
    #[track_caller]
    pub fn settings<T>(mut self, prefix: &'static str) -> Self
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let read =
            move |all: &BTreeMap<String, String>| settings::read::<T>(all, prefix).map(share);
        let (defined_at, read) = (site::place(), Box::new(read));
        self.0.settings.push(SiteSettings { prefix, defined_at, read });
        self
    }

    /// Adds sources to the Content-Security-Policy of the site's own pages, which is otherwise the one of Frontdesk's
    /// pages: only the site's own style sheets and images. Frontdesk's pages keep theirs.
    pub fn content_security_policy(
        mut self,
        change: impl FnOnce(ContentSecurityPolicy) -> ContentSecurityPolicy,
    ) -> Self {
        self.0.content_security_policy = change(self.0.content_security_policy);
        self
    }

    /// Periodic work: `run` is called at start, and again `every` so often after it ended, with up to a tenth added
    /// at random. Several servers do not run it at the same time. An error or a panic is logged and counted in the
    /// metric `frontdesk_job_runs_total`. When the server stops, a run is dropped at its next `await`.
    ///
    /// It is not a queue: work that must not be lost belongs into a table, from which each run takes rows with
    /// `SELECT … FOR UPDATE SKIP LOCKED`.
    #[track_caller]
    pub fn job<F, R>(mut self, name: &'static str, every: Duration, run: F) -> Self
    where
        F: Fn(JobContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let run = move |pool: PgPool, mailer: Mailer| -> site::BoxFuture<_> {
            Box::pin(run(JobContext::new(Pool::new(pool), mailer)))
        };
        let (defined_at, run) = (site::place(), Arc::new(run));
        self.0.jobs.push(SiteJob { name, defined_at, every, run });
        self
    }

    /// A command of the site's program, beside ours (`serve`, `migrate`, `user`, …). `run` gets the arguments after
    /// the name. An error is printed and means the exit code 1.
    #[track_caller]
    pub fn command<F, R>(mut self, name: &'static str, about: &'static str, run: F) -> Self
    where
        F: Fn(CommandContext, Vec<OsString>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<ExitCode, BoxError>> + Send + 'static,
    {
        let run = move |pool: PgPool, mailer: Mailer, arguments| -> site::BoxFuture<_> {
            Box::pin(run(CommandContext::new(Pool::new(pool), mailer), arguments))
        };
        let (defined_at, run) = (site::place(), Box::new(run));
        self.0.commands.push(SiteCommand { name, defined_at, about, run });
        self
    }

    /// Runs the command of the command line, by default the server, and returns the exit code: 0 if it did what
    /// was asked, 1 for failures, 2 for wrong use or settings, 3 if there was nothing to do, 4 for problems that
    /// `doctor` found.
    pub fn main(self) -> ExitCode {
        cli::main(self.0)
    }
}

impl fmt::Debug for Website {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Website").field("name", &self.0.name).finish_non_exhaustive()
    }
}

fn share<T: Send + Sync + 'static>(value: T) -> AddData {
    let data = Data::new(value);
    Arc::new(move |config: &mut ServiceConfig| {
        config.app_data(data.clone());
    })
}

/// Embeds the folders `templates/`, `static/`, `locales/` and `migrations/` of the calling crate into the program; each
/// may be missing. With a `build.rs` that prints `cargo:rerun-if-changed=templates` and so on, a new file is noticed.
///
/// ```
/// let website = frontdesk::Website::new(frontdesk::embed!());
/// ```
#[macro_export]
macro_rules! embed {
    () => {{
        use $crate::__private::rust_embed;

        #[derive($crate::__private::rust_embed::RustEmbed)]
        #[crate_path = "rust_embed"]
        #[folder = "templates/"]
        #[allow_missing = true]
        struct Templates;
        #[derive($crate::__private::rust_embed::RustEmbed)]
        #[crate_path = "rust_embed"]
        #[folder = "static/"]
        #[allow_missing = true]
        struct Static;
        #[derive($crate::__private::rust_embed::RustEmbed)]
        #[crate_path = "rust_embed"]
        #[folder = "migrations/"]
        #[allow_missing = true]
        struct Migrations;
        #[derive($crate::__private::rust_embed::RustEmbed)]
        #[crate_path = "rust_embed"]
        #[folder = "locales/"]
        #[allow_missing = true]
        struct Locales;
        $crate::Embedded::new(
            $crate::__private::folder::<Templates>(),
            $crate::__private::folder::<Static>(),
            $crate::__private::folder::<Migrations>(),
        )
        .with_locales($crate::__private::folder::<Locales>())
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_templates_source(if cfg!(debug_assertions) {
            Some(concat!(env!("CARGO_MANIFEST_DIR"), "/templates"))
        } else {
            None
        })
    }};
}
