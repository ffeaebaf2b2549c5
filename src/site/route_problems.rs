//! What is wrong with the routes of a site: they clash with each other or with those of Frontdesk, or the router cannot
//! use them. Found before the server starts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use actix_web::dev::ResourceDef;
use actix_web::http::Method;

use super::pattern;
use crate::web::limits::Limits;

/// The paths that belong to Frontdesk, now and in later versions, with everything below them.
const RESERVED: [&str; 16] = [
    "/account",
    "/login",
    "/register",
    "/logout",
    "/verify-email",
    "/forgot-password",
    "/reset-password",
    "/undo-email-change",
    "/undo-second-factor",
    "/invitation",
    "/language",
    "/admin",
    "/static",
    "/dev",
    "/.frontdesk",
    "/.well-known/change-password",
];
/// Reserved without anything below them.
const RESERVED_FILES: [&str; 3] = ["/healthz", "/readyz", "/.well-known/security.txt"];

/// One route, for lists and messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteInfo {
    /// The method; GET stands for HEAD too.
    pub method: Method,
    /// The pattern of the path.
    pub path: String,
    /// Whether the session of the request is looked up.
    pub with_session: bool,
    /// Who may use it, by the arguments of the handler.
    pub audience: Audience,
    /// File and line of the definition.
    pub defined_at: String,
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everyone.
    Anyone,
    /// Signed-in users.
    SignedIn,
    /// Users who entered their password recently.
    RecentlyAuthenticated,
    /// Members of a group.
    Member,
    /// Administrators.
    Admin,
}

impl Audience {
    /// The audience of a handler with these arguments. The names of types are for lists only.
    pub(super) fn of<Args>() -> Self {
        let arguments = std::any::type_name::<Args>();
        let takes = |extractor: &str| arguments.contains(&format!("::website::{extractor}"));
        if takes("current_user::Admin") {
            Self::Admin
        } else if takes("member::Member<") {
            Self::Member
        } else if takes("current_user::RecentlyAuthenticated") {
            Self::RecentlyAuthenticated
        } else if takes("current_user::CurrentUser") || arguments.contains("::SessionData") {
            Self::SignedIn
        } else {
            Self::Anyone
        }
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Anyone => "anyone",
            Self::SignedIn => "signed in",
            Self::RecentlyAuthenticated => "recently authenticated",
            Self::Member => "members of a group",
            Self::Admin => "administrators",
        })
    }
}

/// Why a route cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteProblem {
    /// Two routes with the same method and pattern.
    Repeated {
        /// The second definition.
        route: RouteInfo,
        /// Where the first one is.
        first: String,
    },
    /// The path belongs to Frontdesk.
    Reserved {
        /// The definition.
        route: RouteInfo,
        /// The reserved path.
        reserved: &'static str,
    },
    /// The same pattern with other names of its variables: actix-web would use only the first.
    Renamed {
        /// The second definition.
        route: RouteInfo,
        /// The first one.
        first: RouteInfo,
    },
    /// The pattern does not begin with `/`.
    NotAbsolute(RouteInfo),
    /// The router of actix-web cannot use the pattern.
    Malformed {
        /// The definition.
        route: RouteInfo,
        /// A sentence.
        why: String,
    },
    /// A deadline that every request would miss, or that cannot be computed.
    Deadline {
        /// The deadline.
        deadline: Duration,
        /// File and line of the call of `limits`.
        defined_at: String,
    },
    /// The same pattern with and without session: actix-web would use only the first.
    Divided(RouteInfo),
}

impl fmt::Display for RouteProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated { route, first } => write!(
                out,
                "{route} is defined twice: {} and {first}. Remove one of them.",
                route.defined_at
            ),
            Self::Reserved { route, reserved } => write!(
                out,
                "{route} ({}) is below {reserved}, which belongs to Frontdesk. Choose another path.",
                route.defined_at
            ),
            Self::Renamed { route, first } => write!(
                out,
                "{route} ({}) has other names for its variables than {first} ({}). Use one pattern for both.",
                route.defined_at, first.defined_at
            ),
            Self::NotAbsolute(route) => {
                write!(out, "{route} ({}): a path begins with a slash.", route.defined_at)
            }
            Self::Malformed { route, why } => {
                write!(out, "{route} ({}): the pattern cannot be used. {why}", route.defined_at)
            }
            Self::Deadline { deadline, defined_at } => write!(
                out,
                "The deadline of limits ({defined_at}) is {deadline:?}. Choose one between {:?} and {:?}.",
                Limits::DEADLINES.start(),
                Limits::DEADLINES.end()
            ),
            Self::Divided(route) => write!(
                out,
                "{route} ({}): the other methods of this path are defined with another use of the session. Define all of them inside or outside of without_session.",
                route.defined_at
            ),
        }
    }
}

impl RouteInfo {
    /// The first of `own` that the pattern matches too, if it has variables. Each of `own` is a pattern. Panics if the
    /// pattern is [`RouteProblem::Malformed`].
    pub fn matched<'a>(&self, own: &[&'a str]) -> Option<&'a str> {
        if !self.path.contains('{') {
            return None;
        }
        let pattern = ResourceDef::new(self.path.as_str());
        let example = |own: &str| -> String {
            let segments =
                own.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
            segments.collect::<Vec<_>>().join("/")
        };
        own.iter().copied().find(|own| pattern.is_match(&example(own)))
    }
}

impl fmt::Display for RouteInfo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.method, self.path)
    }
}

/// What is wrong with `routes`.
pub(super) fn problems<'a>(routes: impl Iterator<Item = &'a RouteInfo>) -> Vec<RouteProblem> {
    let mut problems = Vec::new();
    let mut by_shape: BTreeMap<String, Vec<&RouteInfo>> = BTreeMap::new();
    for route in routes {
        if !route.path.starts_with('/') {
            problems.push(RouteProblem::NotAbsolute(route.clone()));
        }
        if let Some(why) = pattern::mistake(&route.path) {
            problems.push(RouteProblem::Malformed { route: route.clone(), why });
        }
        if let Some(reserved) = reserved(&route.path) {
            problems.push(RouteProblem::Reserved { route: route.clone(), reserved });
        }
        let same = by_shape.entry(shape(&route.path)).or_default();
        let first = same.first().copied();
        if let Some(other) = same.iter().find(|other| other.method == route.method) {
            let first = other.defined_at.clone();
            problems.push(RouteProblem::Repeated { route: route.clone(), first });
        } else if let Some(first) = first.filter(|first| first.path != route.path) {
            let first = first.clone();
            problems.push(RouteProblem::Renamed { route: route.clone(), first });
        } else if first.is_some_and(|first| first.with_session != route.with_session) {
            problems.push(RouteProblem::Divided(route.clone()));
        }
        same.push(route);
    }
    problems
}

/// A pattern without the names of its variables: two patterns with one shape match the same paths.
fn shape(pattern: &str) -> String {
    let mut shape = String::new();
    let mut in_name = false;
    for character in pattern.chars() {
        match character {
            '{' => in_name = true,
            ':' | '}' => in_name = false,
            _ if in_name => continue,
            _ => {}
        }
        shape.push(character);
    }
    shape
}

/// The reserved path that a file at `path` would be below. A site may have its own `security.txt`.
pub(super) fn reserved_for_files(path: &str) -> Option<&'static str> {
    reserved(path).filter(|reserved| *reserved != "/.well-known/security.txt")
}

pub(super) fn reserved(path: &str) -> Option<&'static str> {
    let is_below = |reserved: &str| {
        path.strip_prefix(reserved).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    RESERVED
        .iter()
        .find(|reserved| is_below(reserved))
        .or_else(|| RESERVED_FILES.iter().find(|file| **file == path))
        .copied()
}
