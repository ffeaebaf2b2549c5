//! One crawl over every route of `src/server/routes.rs`, by every kind of visitor, over http and over https.
//! The tests look at the recorded responses, so that a new route is covered without being added here.

pub mod fixed_headers;
mod forms;
mod site;
mod tour;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use site::{Site, Visitor, paths_of};

use crate::support::routes::{Route, routes};
use crate::support::rows::changes;
use crate::support::{Browser, Response};

pub use fixed_headers::assert_fixed_headers;

/// A request of the crawl and its response.
struct Visit {
    visitor: &'static str,
    is_signed_in: bool,
    is_https: bool,
    route: Route,
    method: &'static str,
    path: String,
    response: Response,
}

impl Visit {
    fn name(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{} {} by {} over {scheme}", self.method, self.path, self.visitor)
    }

    fn is_below_account(&self) -> bool {
        self.route.path == "/account" || self.route.path.starts_with("/account/")
    }
}

struct Crawl {
    visits: Vec<Visit>,
    /// Rows that a request changed, which must not change any.
    changes: Vec<String>,
}

/// Sends requests with `method` to every path of every route.
fn visit_all(
    crawl: &mut Crawl,
    visitor: &Visitor,
    site: &Site,
    is_https: bool,
    method: &'static str,
) {
    let before = site.database.db_rows();
    for route in routes() {
        for path in paths_of(&route, site, is_https) {
            let mut browser: Browser = visitor.browser.clone();
            let response = browser.send(method, &path, &[], "");
            let Visitor { name, is_signed_in, .. } = *visitor;
            let route = route.clone();
            let visit =
                Visit { visitor: name, is_signed_in, is_https, route, method, path, response };
            crawl.visits.push(visit);
        }
    }
    let found = changes(&before, &site.database.db_rows());
    crawl
        .changes
        .extend(found.into_iter().map(|row| format!("{method} by {}: {row}", visitor.name)));
}

fn crawl() -> &'static Crawl {
    static CRAWL: OnceLock<Crawl> = OnceLock::new();
    CRAWL.get_or_init(|| {
        let site = Site::start();
        let mut crawl = Crawl { visits: Vec::new(), changes: Vec::new() };
        for is_https in [false, true] {
            for visitor in site.visitors(is_https) {
                for method in ["GET", "HEAD", "OPTIONS"] {
                    visit_all(&mut crawl, &visitor, &site, is_https, method);
                }
                if !visitor.is_signed_in {
                    visit_all(&mut crawl, &visitor, &site, is_https, "PUT");
                }
            }
        }
        for server in [&site.http, &site.https] {
            let log = server.log();
            assert!(!log.contains("answered 50"), "{log}");
        }
        crawl
    })
}

#[test]
fn no_get_head_or_options_request_changes_a_row() {
    assert_eq!(crawl().changes, Vec::<String>::new());
}

#[test]
fn every_route_answers_other_methods_with_405_and_its_own_methods() {
    for visit in &crawl().visits {
        let allowed = visit.route.supports(visit.method);
        if visit.route.path.starts_with("/dev/") && visit.is_https {
            assert_eq!(visit.response.status, 404, "{}", visit.name());
        } else if allowed {
            assert_ne!(visit.response.status, 405, "{}", visit.name());
        } else {
            let found = (visit.response.status, visit.response.header("allow"));
            assert_eq!(found, (405, Some(visit.route.allow.as_str())), "{}", visit.name());
        }
    }
}

#[test]
fn every_route_below_account_redirects_strangers_to_sign_in() {
    let mut checked = 0;
    for visit in &crawl().visits {
        let is_read = visit.route.supports("GET") && ["GET", "HEAD"].contains(&visit.method);
        if !visit.is_below_account() || visit.is_signed_in || !is_read {
            continue;
        }
        checked += 1;
        let Visit { response, .. } = visit;
        assert_eq!((response.status, response.body.as_str()), (303, ""), "{}", visit.name());
        assert!(response.location().starts_with("/login?"), "{}", visit.name());
        assert!(response.location().contains("next=%2Faccount"), "{}", visit.name());
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn every_response_to_every_visitor_has_the_fixed_headers() {
    for visit in &crawl().visits {
        assert_fixed_headers(&visit.response, visit.is_https, &visit.name());
    }
}

#[test]
fn every_page_has_the_policy_of_its_address() {
    let mut connecting = BTreeSet::new();
    for (get, head) in pairs(&crawl().visits, "GET", "HEAD") {
        let policy =
            |visit: &Visit| visit.response.header("content-security-policy").map(str::to_owned);
        assert_eq!(policy(head), policy(get), "{}", head.name());
        let has_connect = policy(get).is_some_and(|policy| policy.contains("connect-src"));
        let is_searched = ["/", "/login", "/register"].contains(&get.route.path.as_str());
        assert_eq!(has_connect, is_searched && get.response.status == 200, "{}", get.name());
        connecting.extend(has_connect.then_some(&get.route.path));
    }
    assert_eq!(connecting.len(), 3, "{connecting:?}");
}

#[test]
fn head_has_the_status_and_the_location_of_get_and_no_body() {
    let visits = &crawl().visits;
    for (get, head) in pairs(visits, "GET", "HEAD") {
        assert_eq!(head.response.body, "", "{}", head.name());
        let facts = |visit: &Visit| (visit.response.status, visit.response.location().to_owned());
        assert_eq!(facts(head), facts(get), "{}", head.name());
    }
}

/// Each visit with `first` and the same visit with `second`.
fn pairs<'a>(
    visits: &'a [Visit],
    first: &'a str,
    second: &'a str,
) -> impl Iterator<Item = (&'a Visit, &'a Visit)> {
    let same = |one: &Visit, other: &Visit| {
        (one.visitor, one.is_https, &one.path) == (other.visitor, other.is_https, &other.path)
    };
    let firsts = visits.iter().filter(move |visit| visit.method == first);
    firsts.filter_map(move |one| {
        let other = visits.iter().find(|other| other.method == second && same(one, other))?;
        Some((one, other))
    })
}

#[test]
fn only_files_that_are_the_same_for_everyone_may_be_stored() {
    let visits = &crawl().visits;
    let mut stored = 0;
    for visit in visits.iter().filter(|visit| visit.method == "GET") {
        if visit.response.header("cache-control") == Some("no-store") {
            continue;
        }
        stored += 1;
        assert!(!visit.is_below_account(), "{}", visit.name());
        assert!(visit.response.cookies().is_empty(), "{}", visit.name());
        let same_path = |other: &&Visit| {
            (other.method, other.is_https, &other.path)
                == (visit.method, visit.is_https, &visit.path)
        };
        for other in visits.iter().filter(same_path) {
            assert_eq!(other.response.body, visit.response.body, "{}", visit.name());
        }
    }
    assert!(stored > 0, "the style sheet may be stored");
}

#[test]
fn every_account_page_has_a_sign_out_button() {
    let visits = &crawl().visits;
    for route in routes() {
        let is_account = route.path == "/account" || route.path.starts_with("/account/");
        if !is_account || !route.supports("GET") {
            continue;
        }
        let shown = visits.iter().filter(|visit| {
            visit.route == route
                && visit.method == "GET"
                && visit.is_signed_in
                && visit.response.status == 200
        });
        let mut count = 0;
        for visit in shown {
            count += 1;
            assert!(visit.response.body.contains("action=\"/logout\""), "{}", visit.name());
        }
        assert!(count > 0, "no visitor was shown {}", route.path);
    }
}
