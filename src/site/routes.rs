//! The routes of a site. A type of our own in place of actix-web's `ServiceConfig`: it finds clashes before the
//! server starts, answers HEAD and 405, and can be listed.

use std::collections::BTreeSet;
use std::rc::Rc;

use actix_web::dev::{ResourceDef, Url};
use actix_web::guard::{Any, Get, Guard, GuardContext, Head, fn_guard};
use actix_web::http::{Method, Uri};
use actix_web::web::{self, ServiceConfig};
use actix_web::web::{FormConfig, JsonConfig, PayloadConfig};
use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, Route};
use percent_encoding::percent_decode_str;

use super::route_problems::{self, Audience, RouteInfo, RouteProblem};
use crate::web::limits::{Limits, ResourceLimits};
use crate::web::outer::method_not_allowed;
use crate::web::page::Page;

/// Registers services of actix-web.
type Configure = Box<dyn FnOnce(&mut ServiceConfig)>;

/// Collects the routes of a site.
///
/// ```
/// use frontdesk::{Page, PageResult, Path, Routes};
/// use serde_json::json;
///
/// async fn show(page: Page, id: Path<i64>) -> PageResult {
///     page.render("note.html", &json!({ "id": *id }))
/// }
///
/// fn routes(routes: &mut Routes) {
///     routes.template("/", "start.html").get("/notes/{id}", show);
/// }
/// ```
#[derive(Default)]
pub struct Routes {
    routes: Vec<SiteRoute>,
    without_session: bool,
    limits: Option<Limits>,
    fallback: Option<Route>,
    configure: Vec<Configure>,
    problems: Vec<RouteProblem>,
}

struct SiteRoute {
    info: RouteInfo,
    limits: Option<Limits>,
    route: Route,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident $method:ident;)*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name<F, Args>(&mut self, path: &str, handler: F) -> &mut Self
        where
            F: Handler<Args>,
            Args: FromRequest + 'static,
            F::Output: Responder + 'static,
        {
            let route = web::method(Method::$method).to(handler);
            self.add(Method::$method, path, Audience::of::<Args>(), route)
        }
    )*};
}

impl Routes {
    /// GET and HEAD of `path`, a pattern of actix-web: `/notes/{id}` matches one segment, `/files/{path:.*}` the
    /// rest.
    #[track_caller]
    pub fn get<F, Args>(&mut self, path: &str, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let route = web::route().guard(Any(Get()).or(Head())).to(handler);
        self.add(Method::GET, path, Audience::of::<Args>(), route)
    }

    methods! {
        /// POST. Cross-site requests are refused before the handler runs.
        post POST;
        /// PUT. Cross-site requests are refused before the handler runs.
        put PUT;
        /// PATCH. Cross-site requests are refused before the handler runs.
        patch PATCH;
        /// DELETE. Cross-site requests are refused before the handler runs.
        delete DELETE;
    }

    /// A page without a handler: the template `name` with the values that every page has.
    #[track_caller]
    pub fn template(&mut self, path: &str, name: &'static str) -> &mut Self {
        let handler =
            move |page: Page| std::future::ready(page.of_site().show(name, &serde_json::json!({})));
        let route = web::route().guard(Any(Get()).or(Head())).to(handler);
        self.add(Method::GET, path, Audience::Anyone, route)
    }

    /// Routes whose session is not looked up, for webhooks and pages that are the same for everyone. There is no
    /// check for cross-site requests and no user. A pattern with variables gets no path that a
    /// route with a session matches too, none that belongs to Frontdesk, and not `/`.
    pub fn without_session(&mut self, define: impl FnOnce(&mut Self)) -> &mut Self {
        let before = std::mem::replace(&mut self.without_session, true);
        define(self);
        self.without_session = before;
        self
    }

    /// Routes with other limits than 64 KiB, and 5 seconds for GET or 30 seconds for other methods. The limit of the
    /// body holds for every extractor: [`Form`](crate::Form), and `Bytes`, `Json`, `Payload` and so on of actix-web,
    /// with which a handler also reads `multipart/form-data`.
    #[track_caller]
    pub fn limits(&mut self, limits: Limits, define: impl FnOnce(&mut Self)) -> &mut Self {
        let deadline = limits.deadline;
        if !Limits::DEADLINES.contains(&deadline) {
            let defined_at = super::place();
            self.problems.push(RouteProblem::Deadline { deadline, defined_at });
        }
        let before = self.limits.replace(limits);
        define(self);
        self.limits = before;
        self
    }

    /// The handler of every path without a route, in place of the page with the status 404. Paths that belong to
    /// Frontdesk keep that page.
    pub fn fallback<F, Args>(&mut self, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.fallback = Some(web::to(handler));
        self
    }

    /// Registers services of actix-web, inside the session and after all other routes. A form that arrives twice
    /// there is processed twice, and bodies have the limits of actix-web. They get no path that belongs to Frontdesk.
    pub fn configure(&mut self, configure: impl FnOnce(&mut ServiceConfig) + 'static) -> &mut Self {
        self.configure.push(Box::new(configure));
        self
    }

    #[track_caller]
    fn add(&mut self, method: Method, path: &str, audience: Audience, route: Route) -> &mut Self {
        let info = RouteInfo {
            method,
            path: path.to_owned(),
            with_session: !self.without_session,
            audience,
            defined_at: super::place(),
        };
        self.routes.push(SiteRoute { info, limits: self.limits, route });
        self
    }

    /// All routes, in the order of their definition.
    pub(crate) fn list(&self) -> impl Iterator<Item = &RouteInfo> {
        self.routes.iter().map(|route| &route.info)
    }

    /// What is wrong with the routes.
    pub(crate) fn problems(&self) -> Vec<RouteProblem> {
        let mut problems = self.problems.clone();
        problems.extend(route_problems::problems(self.list()));
        problems
    }

    /// The routes as services of actix-web: those without and those with a session. Panics if a route is
    /// [`RouteProblem::Malformed`].
    pub(crate) fn into_services(self) -> Services {
        let own_pages = self.list();
        let mut services = Services {
            own_pages: own_pages.map(|route| route.path.clone()).collect(),
            without_session: Vec::new(),
            with_session: Vec::new(),
            fallback: self.fallback,
            configure: self.configure,
        };
        let mut by_path: Vec<(String, Vec<SiteRoute>)> = Vec::new();
        for route in self.routes {
            match by_path.iter_mut().find(|(path, _)| *path == route.info.path) {
                Some((_, routes)) => routes.push(route),
                None => by_path.push((route.info.path.clone(), vec![route])),
            }
        }
        let has_session = |routes: &[SiteRoute]| routes.iter().all(|route| route.info.with_session);
        let with_session: Rc<[ResourceDef]> = by_path
            .iter()
            .filter(|(_, routes)| has_session(routes))
            .map(|(path, _)| ResourceDef::new(path.as_str()))
            .collect();
        for (path, routes) in by_path {
            let has_variables = path.contains('{');
            let has_session = has_session(&routes);
            let (mut resource, limits) = resource(&path, routes);
            if has_session {
                if has_variables {
                    resource = resource.guard(fn_guard(is_of_site));
                }
                services.with_session.push((resource, limits));
            } else {
                // They are registered before Frontdesk's last routes and those with a session, which a pattern with
                // variables must not take from them.
                if has_variables {
                    let with_session = Rc::clone(&with_session);
                    resource =
                        resource.guard(fn_guard(move |request| is_free(request, &with_session)));
                }
                services.without_session.push((resource.app_data(WithoutSession), limits));
            }
        }
        services
    }
}

/// Marks a route outside of the session middleware.
pub struct WithoutSession;

/// The routes of a site, to be registered.
pub struct Services {
    own_pages: BTreeSet<String>,
    /// Outside of the session middleware, each with its limits.
    pub without_session: Vec<(Resource, ResourceLimits)>,
    /// Inside.
    pub with_session: Vec<(Resource, ResourceLimits)>,
    /// For other paths.
    pub fallback: Option<Route>,
    /// Registered last.
    pub configure: Vec<Configure>,
}

impl Services {
    /// Whether the site leaves `path` to Frontdesk, because it has no page there.
    pub fn leaves(&self, path: &str) -> impl Guard + use<> {
        let leaves = !self.own_pages.contains(path);
        fn_guard(move |_| leaves)
    }
}

/// Whether the path of `request` does not belong to Frontdesk. Patterns with variables match paths that do.
pub fn is_of_site(request: &GuardContext<'_>) -> bool {
    is_path_of_site(&request.head().uri)
}

/// Whether the path of `uri` does not belong to Frontdesk.
pub fn is_path_of_site(uri: &Uri) -> bool {
    let path = percent_decode_str(uri.path()).decode_utf8_lossy();
    route_problems::reserved(&path).is_none()
}

/// Whether the path of `request` belongs neither to Frontdesk nor to one of the routes `with_session`. A page at `/` is
/// never one of a pattern.
fn is_free(request: &GuardContext<'_>, with_session: &[ResourceDef]) -> bool {
    // As the router decodes it: without `%2F`, which is no slash for a pattern.
    let url = Url::new(request.head().uri.clone());
    let path = url.path();
    path != "/" && is_of_site(request) && !with_session.iter().any(|own| own.is_match(path))
}

/// All methods of one pattern; any other method returns 405.
fn resource(path: &str, routes: Vec<SiteRoute>) -> (Resource, ResourceLimits) {
    let mut allowed: Vec<String> = routes.iter().map(|one| one.info.method.to_string()).collect();
    if let Some(at) = allowed.iter().position(|method| method == "GET") {
        allowed.insert(at + 1, "HEAD".to_owned());
    }
    let allowed = allowed.join(", ");
    let refuse = move || std::future::ready(method_not_allowed(&allowed));
    let limited = routes.iter().filter_map(|one| Some((one.info.method.clone(), one.limits?)));
    let limits: ResourceLimits = limited.collect();
    // The extractors of actix-web have limits of their own, some of them lower.
    let mut resource = web::resource(path)
        .default_service(web::to(refuse))
        .app_data(PayloadConfig::new(limits.max_body()))
        .app_data(JsonConfig::default().limit(limits.max_body()))
        .app_data(FormConfig::default().limit(limits.max_body()));
    for SiteRoute { route, .. } in routes {
        resource = resource.route(route);
    }
    (resource, limits)
}

/// 404 for paths without a route.
pub async fn not_found() -> HttpResponse {
    HttpResponse::NotFound().finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn nothing() -> &'static str {
        ""
    }

    fn messages(define: impl FnOnce(&mut Routes)) -> Vec<String> {
        let mut routes = Routes::default();
        define(&mut routes);
        routes.problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn routes_that_clash_are_named_with_both_places() {
        let found = messages(|routes| {
            routes.get("/notes", nothing).post("/notes", nothing);
            routes.get("/notes", nothing);
        });
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("GET /notes is defined twice: src/site/routes.rs:"));
        assert_eq!(found[0].matches("src/site/routes.rs:").count(), 2);
        let found = messages(|routes| {
            routes.get("/feed", nothing);
            routes.without_session(|routes| {
                routes.post("/feed", nothing);
            });
        });
        assert!(found.len() == 1 && found[0].contains("without_session"), "{found:?}");
    }

    #[test]
    fn patterns_that_differ_only_in_names_are_one_pattern() {
        let found = messages(|routes| {
            routes.get("/n/{id}", nothing).get("/n/{x}", nothing);
        });
        assert!(found.len() == 1 && found[0].contains("is defined twice"), "{found:?}");
        let found = messages(|routes| {
            routes.get("/n/{id}", nothing).post("/n/{x}", nothing);
            routes.get("/m/{id:[0-9]+}", nothing).get("/m/{id:[a-z]+}", nothing);
        });
        assert!(found.len() == 1 && found[0].contains("Use one pattern"), "{found:?}");
    }

    fn with_page(path: &str) -> Vec<String> {
        messages(|routes| {
            routes.get(path, nothing);
        })
    }

    #[test]
    fn a_pattern_that_the_router_cannot_use_is_named_with_its_place() {
        for path in ["/notes/{note-id}", "/n/{id", "/n/{id:[}", "/n/{id}/{id}", "/files/*"] {
            let found = with_page(path);
            let start = format!("GET {path} (src/site/routes.rs:");
            assert!(found.len() == 1 && found[0].starts_with(&start), "{found:?}");
            assert!(found[0].contains("the pattern cannot be used"), "{found:?}");
        }
    }

    #[test]
    fn a_deadline_that_no_request_can_meet_or_that_overflows_is_named_with_its_place() {
        let with_deadline = |deadline| {
            messages(|routes| {
                routes.limits(Limits { body: 1, deadline }, |routes| {
                    routes.get("/slow", nothing);
                });
            })
        };
        let day = Duration::from_secs(24 * 60 * 60);
        for deadline in [Duration::ZERO, Duration::from_micros(999), day * 2, Duration::MAX] {
            let found = with_deadline(deadline);
            assert!(
                found.len() == 1
                    && found[0].starts_with("The deadline of limits (src/site/routes.rs:"),
                "{found:?}"
            );
            assert!(found[0].contains(&format!("is {deadline:?}. ")), "{found:?}");
        }
        for deadline in [Duration::from_millis(1), day] {
            assert!(with_deadline(deadline).is_empty(), "{deadline:?}");
        }
    }

    #[test]
    fn paths_of_frontdesk_and_what_is_below_them_are_refused() {
        for path in
            ["/login", "/account", "/account/notes", "/static/{name}", "/healthz", "/admin/x"]
        {
            let found = with_page(path);
            assert!(found.len() == 1 && found[0].contains("belongs to Frontdesk"), "{found:?}");
        }
        for path in ["/", "/accounts", "/healthz/x", "/robots.txt", "/loginx", "/{any}"] {
            assert!(with_page(path).is_empty(), "{path}");
        }
        assert_eq!(with_page("notes").len(), 1);
    }
}
