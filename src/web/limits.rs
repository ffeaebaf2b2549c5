//! How large a form may be, and how long a response may take to start.

use std::time::Duration;

use actix_web::dev::ResourceDef;
use actix_web::http::Method;

/// How long a GET may take, so that requests do not hang when the database hangs.
const PAGE_DEADLINE: Duration = Duration::from_secs(5);
/// The deadline of other methods. It is longer, because form bodies may arrive slowly, password hashes wait
/// in a queue, and an export takes long. A transaction that is open at the deadline still completes in its
/// own task.
const FORM_DEADLINE: Duration = Duration::from_secs(30);
/// In bytes. All forms of Frontdesk are smaller.
pub const MAX_BODY: usize = 64 * 1024;

/// The limits of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of a form in bytes; a larger one is 413. Other bodies are limited by their extractors.
    pub body: usize,
    /// How long until the response starts; then it is 503.
    pub deadline: Duration,
}

/// The routes with other limits than the usual ones. Application data of the site.
#[derive(Default)]
pub struct RouteLimits(Vec<(Method, ResourceDef, Limits)>);

impl RouteLimits {
    /// Each method and pattern with its limits.
    pub fn new<'a>(routes: impl Iterator<Item = (&'a Method, &'a str, Limits)>) -> Self {
        let entry = |(method, path, limits): (&Method, &str, Limits)| {
            (method.clone(), ResourceDef::new(path), limits)
        };
        Self(routes.map(entry).collect())
    }

    /// The limits of a request.
    pub fn of(&self, method: &Method, path: &str) -> Limits {
        let counts_as = if *method == Method::HEAD { &Method::GET } else { method };
        let found =
            self.0.iter().find(|(of, pattern, _)| of == counts_as && pattern.is_match(path));
        found.map_or_else(|| Limits::of_method(method), |(_, _, limits)| *limits)
    }
}

impl Limits {
    /// The usual limits of requests with this method.
    pub fn of_method(method: &Method) -> Self {
        let deadline = if method.is_safe() { PAGE_DEADLINE } else { FORM_DEADLINE };
        Self { body: MAX_BODY, deadline }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_routes_have_other_limits() {
        let large = Limits { body: 1 << 20, deadline: Duration::from_secs(60) };
        let routes = [(&Method::POST, "/pictures/{id}", large), (&Method::GET, "/report", large)];
        let limits = RouteLimits::new(routes.into_iter());
        assert_eq!(limits.of(&Method::POST, "/pictures/7"), large);
        assert_eq!(limits.of(&Method::HEAD, "/report"), large);
        for (method, path) in [
            (Method::GET, "/pictures/7"),
            (Method::POST, "/pictures"),
            (Method::POST, "/pictures/7/x"),
            (Method::POST, "/report"),
        ] {
            assert_eq!(limits.of(&method, path), Limits::of_method(&method), "{method} {path}");
        }
    }
}
