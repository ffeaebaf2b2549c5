//! What a Rust developer builds a site with: the builder [`Website`], the extractors, and their values.

mod cookies;
mod current_user;
mod database;
mod error;
mod form;
mod hooks;
mod page;
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
use crate::config::ConfigErrors;
use crate::site::{
    AddData, BoxError, Embedded, NavigationEntry, Routes, Site, SiteCommand, SiteJob,
};

pub use cookies::Cookies;
pub use current_user::{Admin, CurrentUser, RecentlyAuthenticated, UserRole, Visitor};
pub use database::Pool;
pub use error::{Error, PageResult};
pub use form::{FieldErrors, Form, FormView};
pub use page::{Notice, Page};

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
    pub fn routes(mut self, define: impl Fn(&mut Routes) + Send + Sync + 'static) -> Self {
        if self.0.routes.is_some() {
            self.0
                .problems
                .push("Website::routes is called twice. Define all routes in one function.".into());
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
    /// field `page_size` of `T` is the setting `NOTES_PAGE_SIZE`. Handlers extract them as
    /// [`Data<T>`](crate::Data). What is wrong with them is reported together with our settings, at start.
    pub fn settings<T>(mut self, prefix: &'static str) -> Self
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        if prefix.is_empty() || "FRONTDESK_".starts_with(prefix) || prefix.starts_with("FRONTDESK_")
        {
            let problem = format!(
                "The prefix “{prefix}” of the site's settings is that of Frontdesk. Choose another one."
            );
            self.0.problems.push(problem);
        }
        let read = move |settings: &[(String, String)]| {
            let texts: values::Texts = settings
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name.to_ascii_lowercase(), vec![Some(value.clone())]))
                .collect::<BTreeMap<_, _>>();
            match values::read::<T>(&texts) {
                Ok(value) => Ok(share(value)),
                Err(problem) => {
                    let name = problem.name.to_ascii_uppercase();
                    let message = match problem.message.as_str() {
                        "Fill in this field." => "must be set.".to_owned(),
                        message => format!("cannot be read: {message}"),
                    };
                    Err(ConfigErrors(vec![format!("{prefix}{name} {message}")]))
                }
            }
        };
        self.0.settings.push((prefix, Box::new(read)));
        self
    }

    /// Periodic work: `run` is called at start, and again `every` so often after it ended, with up to a tenth added
    /// at random. Several servers do not run it at the same time. An error is logged. The pool has no statement
    /// timeout.
    ///
    /// It is not a queue: work that must not be lost belongs into a table.
    pub fn job<F, R>(mut self, name: &'static str, every: Duration, run: F) -> Self
    where
        F: Fn(Pool) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        if self.0.jobs.iter().any(|job| job.name == name) {
            self.0.problems.push(format!("The job {name} is defined twice."));
        }
        let run =
            move |pool: PgPool| -> crate::site::BoxFuture<_> { Box::pin(run(Pool::new(pool))) };
        self.0.jobs.push(SiteJob { name, every, run: Arc::new(run) });
        self
    }

    /// A command of the site's program, beside ours (`serve`, `migrate`, `user`, …). `run` gets the site's
    /// connections and the arguments after the name. An error is printed and means the exit code 1.
    pub fn command<F, R>(mut self, name: &'static str, about: &'static str, run: F) -> Self
    where
        F: Fn(Pool, Vec<OsString>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<ExitCode, BoxError>> + Send + 'static,
    {
        let run = move |pool: PgPool, arguments| -> crate::site::BoxFuture<_> {
            Box::pin(run(Pool::new(pool), arguments))
        };
        self.0.commands.push(SiteCommand { name, about, run: Box::new(run) });
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

/// Embeds the folders `templates/`, `static/` and `migrations/` of the calling crate into the program; each may be
/// missing. With a `build.rs` that prints `cargo:rerun-if-changed=templates` and so on, a new file is noticed.
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
        $crate::Embedded::new(
            $crate::__private::folder::<Templates>(),
            $crate::__private::folder::<Static>(),
            $crate::__private::folder::<Migrations>(),
        )
    }};
}
