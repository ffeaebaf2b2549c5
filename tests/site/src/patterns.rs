//! Routes with patterns, in place of the others. `SITE_PATTERNS` is `with-session`, `without-session` or `start-page`;
//! `SITE_PATTERN` is the path of a page, and `SITE_DEADLINE` the nanoseconds of a deadline, or `max`.

use std::time::Duration;

use frontdesk::actix_web::web;
use frontdesk::{Limits, Routes};

/// Whether the settings ask for these routes.
pub fn replace(routes: &mut Routes) -> bool {
    let text = |name: &str| std::env::var(name).ok();
    if let Some(path) = text("SITE_PATTERN") {
        routes.get(&path, session);
        return true;
    }
    if let Some(deadline) = text("SITE_DEADLINE") {
        let deadline = deadline.parse().map_or(Duration::MAX, Duration::from_nanos);
        routes.limits(Limits { body: 1024, deadline }, |routes| {
            routes.get("/limited", session);
        });
        return true;
    }
    match text("SITE_PATTERNS").as_deref() {
        Some("with-session") => with_session(routes),
        Some("without-session") => without_session(routes),
        Some("start-page") => {
            without_session(routes);
            routes.without_session(|routes| {
                routes.get("/", start);
            });
        }
        _ => return false,
    }
    true
}

fn with_session(routes: &mut Routes) {
    routes.get("/{section}/{page}", session);
    routes.configure(|config| {
        config.route("/{one}", web::get().to(configured));
        config.route("/{one}/{two}/{three}", web::get().to(configured));
    });
    routes.fallback(fallback);
}

fn without_session(routes: &mut Routes) {
    routes.without_session(|routes| {
        routes.get("/{path:.*}", public);
    });
    routes.get("/notes/{id}", session).get("/{name:[a-z]+}.html", session).get("/page", session);
}

async fn session() -> &'static str {
    "session"
}

async fn configured() -> &'static str {
    "configured"
}

async fn fallback() -> &'static str {
    "fallback"
}

async fn public() -> &'static str {
    "public"
}

async fn start() -> &'static str {
    "start"
}
