//! The route table. Each row contains, from left to right:
//!
//! 1. The kind of the page and its path. `read_only` is a page without a form (GET, HEAD), `form` is a page
//!    with a form (GET, HEAD, POST), and `button` is an action without a page (POST). Any other method
//!    returns 405.
//! 2. For each method, its handler: `show` or `list` for GET, `submit` or the name of the action for POST.
//!
//! The arguments of the handler determine who may use a page. Handlers below `/account` take `CurrentUser`,
//! or `RecentlyAuthenticated` for sensitive actions; without a session they redirect to the sign-in page. All
//! other pages are public. Only the last scope has the session middleware, so the routes above it cost no
//! session lookup.

use actix_identity::IdentityMiddleware;
use actix_session::SessionMiddleware;
use actix_web::guard::{Any, Get, Head, fn_guard};
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{Resource, Route};

use crate::auth;
use crate::pages::{account, dev_mailbox, dev_templates, health, home, sign_in, well_known};
use crate::session::PgSessionStore;
use crate::site::{self, Site};
use crate::web::assets::{self, Assets};
use crate::web::limits::ResourceLimits;
use crate::web::outer::method_not_allowed;
use crate::web::{cookie_guard, cross_site};

/// The pattern of every route of Frontdesk, and its files at the root.
pub const PATHS: [&str; 40] = [
    "/",
    "/robots.txt",
    "/favicon.ico",
    "/healthz",
    "/readyz",
    "/static/{path:.*}",
    "/.well-known/change-password",
    "/.well-known/security.txt",
    "/dev/mailbox",
    "/dev/mailbox/{id}",
    "/dev/templates",
    "/dev/templates/frame",
    "/dev/templates/sample",
    "/register",
    "/login",
    "/verify-email",
    "/forgot-password",
    "/verify-email/link",
    "/reset-password",
    "/invitation",
    "/undo-email-change",
    "/logout",
    "/account",
    "/account/profile",
    "/account/password",
    "/account/email",
    "/account/email/verify",
    "/account/email/code",
    "/account/sessions",
    "/account/sessions/revoke-others",
    "/account/activity",
    "/account/confirm",
    "/account/export",
    "/account/delete",
    "/account/delete/cancel",
    "/account/sessions/{id}/revoke",
    "/verify-email/{token}",
    "/reset-password/{token}",
    "/invitation/{token}",
    "/undo-email-change/{token}",
];

/// Registers all routes, with those of `website` and the `files` at the root. `sessions` and `identity` are middleware of the last scope.
pub fn configure(
    config: &mut ServiceConfig,
    sessions: SessionMiddleware<PgSessionStore>,
    identity: IdentityMiddleware,
    website: &Site,
    files: &Assets,
) {
    let mut site = website.define_routes().into_services();
    let without_session = std::mem::take(&mut site.without_session);
    let missing = site.fallback.take().unwrap_or_else(|| web::to(site::not_found));
    config
        .service(read_only("/healthz").route(get().to(health::live)))
        .service(read_only("/readyz").route(get().to(health::ready)))
        // `/robots.txt`, `/favicon.ico` and other files. A page of the site replaces a file of Frontdesk, and a file of
        // the site a page of Frontdesk.
        .configure(|config| {
            for (path, is_own) in files.at_root() {
                let file = read_only(path).route(get().to(assets::serve_at_root));
                config.service(if is_own { file.guard(site.leaves(path)) } else { file });
            }
        })
        // Scopes, so that requests for pages are not matched against the patterns inside.
        .service(
            web::scope("/static").service(read_only("/{path:.*}").route(get().to(assets::serve))),
        )
        .service(
            read_only("/.well-known/change-password").route(get().to(well_known::change_password)),
        )
        .service(read_only("/.well-known/security.txt").route(get().to(well_known::security_txt)))
        // Only in development; otherwise 404.
        .service(
            web::scope("/dev/mailbox")
                .guard(fn_guard(dev_mailbox::is_available))
                .service(read_only("").route(get().to(dev_mailbox::list)))
                .service(read_only("/{id}").route(get().to(dev_mailbox::show))),
        )
        .service(
            web::scope("/dev/templates")
                .guard(fn_guard(dev_mailbox::is_available))
                .service(read_only("").route(get().to(dev_templates::list)))
                .service(read_only("/sample").route(get().to(dev_templates::show)))
                .service(read_only("/frame").route(get().to(dev_templates::frame))),
        )
        // The site's routes without a session.
        .configure(|config| {
            for (resource, limits) in without_session {
                config.service(
                    resource
                        .wrap(from_fn(site::leave_cookies))
                        .wrap(from_fn(move |request, next| limits.clone().apply(request, next))),
                );
            }
        })
        .service(
            web::scope("")
                // The innermost middleware comes first; a request passes them from the last to the first.
                .wrap(from_fn(cross_site::refuse))
                .wrap(from_fn(auth::resume))
                .wrap(identity)
                .wrap(sessions)
                .wrap(from_fn(cookie_guard::guard))
                .configure(|config| {
                    AnsweredOnce(config)
                        // ── public
                        .service(read_only("/").guard(site.leaves("/")).route(get().to(home::show)))
                        .service(
                            form("/register")
                                .route(get().to(sign_in::register::show))
                                .route(web::post().to(sign_in::register::submit)),
                        )
                        .service(
                            form("/login")
                                .route(get().to(sign_in::login::show))
                                .route(web::post().to(sign_in::login::submit)),
                        )
                        .service(
                            form("/verify-email")
                                .route(get().to(sign_in::verify_code::show))
                                .route(web::post().to(sign_in::verify_code::submit)),
                        )
                        .service(
                            form("/forgot-password")
                                .route(get().to(sign_in::forgot_password::show))
                                .route(web::post().to(sign_in::forgot_password::submit)),
                        )
                        // The links in mails: the page without the token. Where the link leads is at the end.
                        .service(
                            form("/verify-email/link")
                                .route(get().to(sign_in::verify_email::show))
                                .route(web::post().to(sign_in::verify_email::submit)),
                        )
                        .service(
                            form("/reset-password")
                                .route(get().to(sign_in::reset_password::show))
                                .route(web::post().to(sign_in::reset_password::submit)),
                        )
                        .service(
                            form("/invitation")
                                .route(get().to(sign_in::invitation::show))
                                .route(web::post().to(sign_in::invitation::submit)),
                        )
                        .service(
                            form("/undo-email-change")
                                .route(get().to(sign_in::undo_email_change::show))
                                .route(web::post().to(sign_in::undo_email_change::submit)),
                        )
                        .service(button("/logout").route(web::post().to(sign_in::logout::submit)))
                        // ── signed in
                        .service(read_only("/account").route(get().to(account::overview::show)))
                        .service(
                            form("/account/profile")
                                .route(get().to(account::profile::show))
                                .route(web::post().to(account::profile::submit)),
                        )
                        .service(
                            form("/account/password")
                                .route(get().to(account::password::show))
                                .route(web::post().to(account::password::submit)),
                        )
                        .service(
                            form("/account/email")
                                .route(get().to(account::email::show))
                                .route(web::post().to(account::email::submit)),
                        )
                        .service(
                            button("/account/email/verify")
                                .route(web::post().to(account::email::verify)),
                        )
                        .service(
                            button("/account/email/code")
                                .route(web::post().to(account::email::code)),
                        )
                        .service(
                            read_only("/account/sessions").route(get().to(account::sessions::show)),
                        )
                        .service(
                            button("/account/sessions/revoke-others")
                                .route(web::post().to(account::sessions::revoke_others)),
                        )
                        .service(
                            read_only("/account/activity").route(get().to(account::activity::show)),
                        )
                        .service(
                            form("/account/confirm")
                                .route(get().to(account::confirm::show))
                                .route(web::post().to(account::confirm::submit)),
                        )
                        // Submitting these requires a recent authentication.
                        .service(
                            form("/account/export")
                                .route(get().to(account::export::show))
                                .route(web::post().to(account::export::submit)),
                        )
                        .service(
                            form("/account/delete")
                                .route(get().to(account::delete::show))
                                .route(web::post().to(account::delete::submit)),
                        )
                        .service(
                            button("/account/delete/cancel")
                                .route(web::post().to(account::delete::cancel)),
                        )
                        // ── paths with a parameter, matched by regular expressions: each in a scope, so that only
                        // requests below it are
                        .below(
                            "/account/sessions",
                            button("/{id}/revoke").route(web::post().to(account::sessions::revoke)),
                        )
                        // GET moves the token out of the address. The previous version renders forms that are sent here.
                        .below(
                            "/verify-email",
                            form("/{token}")
                                .route(get().to(sign_in::verify_email::open))
                                .route(web::post().to(sign_in::verify_email::submit)),
                        )
                        .below(
                            "/reset-password",
                            form("/{token}")
                                .route(get().to(sign_in::reset_password::open))
                                .route(web::post().to(sign_in::reset_password::submit)),
                        )
                        .below(
                            "/invitation",
                            form("/{token}")
                                .route(get().to(sign_in::invitation::open))
                                .route(web::post().to(sign_in::invitation::submit)),
                        )
                        .below(
                            "/undo-email-change",
                            form("/{token}")
                                .route(get().to(sign_in::undo_email_change::open))
                                .route(web::post().to(sign_in::undo_email_change::submit)),
                        );
                })
                // ── the site's
                .configure(|config| {
                    let mut resources = AnsweredOnce(config);
                    for (resource, limits) in site.with_session {
                        resources.limited(resource, limits);
                    }
                })
                .service(
                    // Frontdesk's paths go on to the page with the status 404.
                    web::scope("")
                        .guard(fn_guard(site::is_of_site))
                        .wrap(from_fn(site::leave_cookies))
                        .configure(|config| {
                            site.configure.into_iter().for_each(|configure| configure(config));
                        })
                        .default_service(missing),
                ),
        );
}

/// Registers resources in whose forms a second arrival gets the answer of the first.
struct AnsweredOnce<'a>(&'a mut ServiceConfig);

impl AnsweredOnce<'_> {
    fn service(&mut self, resource: Resource) -> &mut Self {
        self.0.service(resource.wrap(from_fn(auth::second_arrival::answer_once)));
        self
    }

    /// A resource in the scope `prefix`. Every other path in it is unknown.
    fn below(&mut self, prefix: &str, resource: Resource) -> &mut Self {
        let resource = resource.wrap(from_fn(auth::second_arrival::answer_once));
        let scope = web::scope(prefix).service(resource);
        self.0.service(scope.default_service(web::to(site::not_found)));
        self
    }

    /// A resource of the site. The limits are outside, because the body of a form is read before the handler runs.
    fn limited(&mut self, resource: Resource, limits: ResourceLimits) {
        self.0.service(
            resource
                .wrap(from_fn(site::leave_cookies))
                .wrap(from_fn(auth::second_arrival::answer_once))
                .wrap(from_fn(move |request, next| limits.clone().apply(request, next))),
        );
    }
}

/// A page without a form.
pub(super) fn read_only(path: &str) -> Resource {
    web::resource(path).default_service(web::to(|| async { method_not_allowed("GET, HEAD") }))
}

/// A page with a form.
fn form(path: &str) -> Resource {
    web::resource(path).default_service(web::to(|| async { method_not_allowed("GET, HEAD, POST") }))
}

/// An action without a page.
fn button(path: &str) -> Resource {
    web::resource(path).default_service(web::to(|| async { method_not_allowed("POST") }))
}

/// GET, and HEAD, which is GET without the body.
pub(super) fn get() -> Route {
    web::route().guard(Any(Get()).or(Head()))
}
