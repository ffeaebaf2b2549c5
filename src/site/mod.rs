//! What a website adds to Frontdesk: pages, navigation, files, migrations, settings, jobs and commands. The
//! program `frontdesk` adds nothing. `website/` builds it, `server` and `cli` use it.

mod around_handlers;
mod definitions;
mod embedded;
pub mod installation;
mod pattern;
mod route_problems;
mod routes;
mod schemas;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::{Data, ServiceConfig};
use sqlx::PgPool;

use crate::config::{Config, ConfigErrors};
use crate::events::{Mailer, RegisteredHooks};
use crate::folder::{self, Folder};
use crate::language;
use crate::look::StyleSheet;
use crate::templates::{self, Layers};
use crate::web::assets;
use crate::web::error::HttpError;
use crate::web::site_policy::ContentSecurityPolicy;

pub use crate::events::BoxError;
pub use crate::web::page_templates::NavigationEntry;
pub use around_handlers::leave_cookies;
pub use definitions::place;
pub use embedded::{Embedded, MigrationFileError};
pub use route_problems::{RouteInfo, RouteProblem};
pub use routes::{Routes, Services, WithoutSession, is_of_site, is_path_of_site, not_found};
pub use schemas::Schemas;

/// What a job or a command of a site returns.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type DefineRoutes = Arc<dyn Fn(&mut Routes) + Send + Sync>;
/// Runs a job with the site's connections and its mail.
type RunJob = Arc<dyn Fn(PgPool, Mailer) -> BoxFuture<Result<(), BoxError>> + Send + Sync>;
/// Runs a command with the site's connections, its mail and the remaining arguments.
type RunCommand = Box<
    dyn Fn(PgPool, Mailer, Vec<OsString>) -> BoxFuture<Result<ExitCode, BoxError>> + Send + Sync,
>;
/// Adds application data, which handlers extract as `Data<T>`.
pub type AddData = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;
/// Reads settings of the site from the names and values of all settings.
pub type ReadSettings =
    Box<dyn Fn(&BTreeMap<String, String>) -> Result<AddData, ConfigErrors> + Send + Sync>;

/// What a website adds to Frontdesk.
#[derive(Default)]
pub struct Site {
    /// The files of the crate.
    pub embedded: Embedded,
    /// The default of `FRONTDESK_SITE_NAME`.
    pub name: Option<String>,
    /// Defines the routes, once per worker.
    pub routes: Option<DefineRoutes>,
    /// Entries of the navigation.
    pub navigation: Vec<NavigationEntry>,
    /// Shared state.
    pub data: Vec<AddData>,
    /// The settings.
    pub settings: Vec<SiteSettings>,
    /// Periodic work.
    pub jobs: Vec<SiteJob>,
    /// Commands of the site's program.
    pub commands: Vec<SiteCommand>,
    /// What runs when something happens to an account.
    pub hooks: RegisteredHooks,
    /// What its own pages may load.
    pub content_security_policy: ContentSecurityPolicy,
    /// The folder `FRONTDESK_TEMPLATES_DIR` and its files.
    pub templates_folder: Option<(PathBuf, Folder)>,
    /// The folder `FRONTDESK_LOCALES_DIR` and its files.
    pub locales_folder: Option<(PathBuf, Folder)>,
    /// What is wrong with the definition, as sentences.
    pub problems: Vec<String>,
}

/// Settings of the site.
pub struct SiteSettings {
    /// Their names begin with it.
    pub prefix: &'static str,
    /// File and line of the definition.
    pub defined_at: String,
    /// Reads them.
    pub read: ReadSettings,
}

/// Periodic work of the site.
pub struct SiteJob {
    /// Its name in metrics and logs.
    pub name: &'static str,
    /// File and line of the definition.
    pub defined_at: String,
    /// From the end of one run to the start of the next.
    pub every: Duration,
    /// One run.
    pub run: RunJob,
}

/// A command of the site's program.
pub struct SiteCommand {
    /// The word on the command line.
    pub name: &'static str,
    /// File and line of the definition.
    pub defined_at: String,
    /// For the list of commands.
    pub about: &'static str,
    /// Gets the site's connection pool and the remaining arguments.
    pub run: RunCommand,
}

/// The connections of a site's handlers.
pub struct SiteDatabase {
    /// Finds the tables of the site's schema first, and then those of Frontdesk.
    pub pool: PgPool,
    /// The schema of Frontdesk's tables.
    pub frontdesk_schema: Arc<str>,
}

impl SiteDatabase {
    /// The database of the site that answers `request`.
    pub fn of(request: &HttpRequest) -> Result<&Self, HttpError> {
        let database = request.app_data::<Data<Self>>().map(Data::get_ref);
        database.ok_or_else(|| HttpError::Internal(anyhow::anyhow!("no website is set up")))
    }
}

impl Site {
    /// Whether this is a website and not the program `frontdesk`: it has a schema of its own.
    pub fn is_website(&self) -> bool {
        self.embedded.is_website()
    }

    /// Defines the routes.
    pub fn define_routes(&self) -> Routes {
        let mut routes = Routes::default();
        if let Some(define) = &self.routes {
            define(&mut routes);
        }
        routes
    }

    /// The events that have a hook, sorted: a program without them must not change users in a database whose site has
    /// them.
    pub fn hook_names(&self) -> Vec<String> {
        self.hooks.names()
    }

    /// Everything that is wrong with the definition of the site. `is_own_command`: whether Frontdesk has a command
    /// with this name.
    pub fn check(&self, is_own_command: impl Fn(&str) -> bool) -> Vec<String> {
        let mut problems = self.problems.clone();
        problems.extend_from_slice(self.hooks.problems());
        let settings = self.settings.iter().map(|one| (one.prefix, one.defined_at.as_str()));
        problems.extend(definitions::settings_problems(settings));
        let jobs = self.jobs.iter().map(|one| (one.name, one.defined_at.as_str()));
        problems.extend(definitions::job_problems(jobs));
        let commands = self.commands.iter().map(|one| (one.name, one.defined_at.as_str()));
        problems.extend(definitions::command_problems(commands, is_own_command));
        problems.extend(self.define_routes().problems().iter().map(ToString::to_string));
        problems.extend(self.embedded.problems());
        problems.extend(self.content_security_policy.problems().iter().cloned());
        problems.extend(self.static_problems(&self.embedded.assets, "static"));
        problems
    }

    /// Adds the operator's files, which replace those of the site by name. Returns what is wrong with them.
    pub fn add_folders(&mut self, config: &Config) -> Vec<String> {
        let assets = config.static_dir.as_ref().map(|folder| self.add_static_folder(folder));
        // Before the templates, which use the messages.
        let locales = config.locales_dir.as_ref().map(|folder| self.add_locales(folder));
        let templates = config.templates_dir.as_ref().map(|folder| self.add_templates(folder));
        let of = |setting: &str, problems: Option<Vec<String>>| {
            let problems = problems.unwrap_or_default();
            problems.iter().map(|problem| format!("{setting}: {problem}")).collect::<Vec<_>>()
        };
        let locales = of("FRONTDESK_LOCALES_DIR", locales);
        let templates = of("FRONTDESK_TEMPLATES_DIR", templates);
        [of("FRONTDESK_STATIC_DIR", assets), locales, templates].concat()
    }

    fn add_static_folder(&mut self, folder: &Path) -> Vec<String> {
        match folder::read(folder) {
            Ok(files) => {
                let problems = self.static_problems(&files, &folder.display().to_string());
                // The operator's logo replaces the site's, whatever the format of both.
                if files.contains_key("logo.png") {
                    self.embedded.assets.remove("logo.svg");
                }
                self.embedded.assets.extend(files);
                problems
            }
            Err(problems) => problems,
        }
    }

    fn add_locales(&mut self, folder: &Path) -> Vec<String> {
        match folder::read(folder) {
            Ok(files) => {
                self.locales_folder = Some((folder.to_owned(), files));
                let problems = language::problems(&self.templates().messages);
                problems.iter().map(ToString::to_string).collect()
            }
            Err(problems) => problems,
        }
    }

    fn add_templates(&mut self, folder: &Path) -> Vec<String> {
        match folder::read(folder) {
            Ok(files) => {
                self.templates_folder = Some((folder.to_owned(), files));
                templates::problems(&self.templates()).iter().map(ToString::to_string).collect()
            }
            Err(problems) => problems,
        }
    }

    /// The templates that replace Frontdesk's.
    pub fn templates(&self) -> Layers {
        Layers {
            templates: folder::Layers {
                operator: self.templates_folder.clone(),
                site: self.embedded.templates.clone(),
                site_source: self.embedded.templates_source.map(PathBuf::from),
            },
            messages: folder::Layers {
                operator: self.locales_folder.clone(),
                ..self.embedded.messages()
            },
        }
    }

    /// The style sheets of the site, in the order of their links: one that replaces Frontdesk's, and `site.css`.
    pub fn style_sheets(&self, config: &Config) -> Vec<StyleSheet<'_>> {
        let sheet = |name: &str| {
            let text = std::str::from_utf8(self.embedded.assets.get(name)?).ok()?;
            let of_operator = config.static_dir.as_ref().map(|folder| folder.join(name));
            let path = of_operator.filter(|path| path.exists());
            let path =
                path.map_or_else(|| format!("static/{name}"), |path| path.display().to_string());
            Some(StyleSheet { path, text })
        };
        ["frontdesk.css", "site.css"].into_iter().filter_map(sheet).collect()
    }

    /// What is wrong with static files: types that are not served, and files at the root with the path of a route.
    fn static_problems(&self, files: &Folder, folder: &str) -> Vec<String> {
        let routes = self.define_routes();
        let clash = |path: &str| {
            let url = assets::url_at_root(path)?;
            if let Some(reserved) = route_problems::reserved_for_files(&url) {
                return Some(format!("would be at {url}, and {reserved} belongs to Frontdesk."));
            }
            let route = routes.list().find(|route| route.path == url)?;
            Some(format!(
                "and {route} ({}) have the same path. Remove one of them.",
                route.defined_at
            ))
        };
        let problem = |path: &str| assets::problem(path).map(str::to_owned).or_else(|| clash(path));
        files
            .keys()
            .filter_map(|path| Some(format!("{folder}/{path} {}", problem(path)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn site(files: &[&str]) -> Site {
        let file = |path: &&str| ((*path).to_owned(), Cow::Borrowed(&b""[..]));
        let assets = files.iter().map(file).collect();
        Site {
            embedded: Embedded::new(Folder::new(), assets, Folder::new()),
            routes: Some(Arc::new(|routes: &mut Routes| {
                routes.template("/feed.txt", "feed.html");
            })),
            ..Site::default()
        }
    }

    #[test]
    fn a_static_file_that_cannot_be_served_is_a_problem_of_the_site() {
        let files = ["feed.txt", "root/.well-known/security.txt", "root/feed.xml", ".git/config"];
        assert!(site(&files).check(|_| false).is_empty());
        for (path, expected) in [
            ("root/feed.txt", "static/root/feed.txt and GET /feed.txt (src/site/mod.rs:"),
            ("root/login/x.txt", "static/root/login/x.txt would be at /login/x.txt, and /login"),
            ("photo.bmp", "static/photo.bmp has an ending that is not served"),
        ] {
            let problems = site(&[path]).check(|_| false);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(expected), "{problems:?}");
        }
    }
}
