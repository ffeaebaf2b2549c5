//! The route table, read from `src/server/routes.rs`, so that a test over all routes cannot forget a new one.

use std::collections::BTreeMap;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// As in the table: "/account/sessions/{id}/revoke".
    pub path: String,
    /// The methods that it supports, as in the header Allow: "GET, HEAD, POST".
    pub allow: String,
}

impl Route {
    /// Whether it supports the method.
    pub fn supports(&self, method: &str) -> bool {
        self.allow.split(", ").any(|allowed| allowed == method)
    }
}

/// The name of each function of the table that creates a resource, and the methods that it allows.
fn constructors(source: &str) -> BTreeMap<&str, &str> {
    let functions = source.split("fn ").skip(1);
    let found = functions.filter_map(|function| {
        let (name, rest) = function.split_once("(path: &str) -> Resource {")?;
        let (_, rest) = rest.split_once("method_not_allowed(\"")?;
        Some((name, rest.split('"').next()?))
    });
    found.collect()
}

/// Every route of the table.
pub fn routes() -> Vec<Route> {
    let source = std::fs::read_to_string("src/server/routes.rs").expect("the route table");
    let constructors = constructors(&source);
    assert!(constructors.len() >= 3, "{constructors:?}");
    let mut routes = Vec::new();
    // The scope that applies to lines that are indented more than it.
    let mut scope = (usize::MAX, "");
    // The indent of a call of `below`, whose first argument is the prefix.
    let mut below = None;
    for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
        if let Some(indent) = below.take() {
            scope = (indent, line.trim().trim_matches(['"', ',']));
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if indent <= scope.0 {
            scope = (usize::MAX, "");
        }
        if let Some((_, rest)) = line.split_once("web::scope(\"") {
            scope = (indent, rest.split('"').next().expect("a path"));
        }
        if line.trim() == ".below(" {
            below = Some(indent);
        }
        for (name, allow) in &constructors {
            for (at, found) in line.match_indices(&format!("{name}(\"")) {
                let is_word =
                    line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
                let path = line[at + found.len()..].split('"').next().expect("a path");
                if !is_word {
                    let path = format!("{}{path}", scope.1);
                    routes.push(Route { path, allow: (*allow).to_owned() });
                }
            }
        }
    }
    let resources = source.matches("web::resource(").count();
    assert_eq!(resources, constructors.len(), "a route that no function of the table creates");
    assert!(routes.len() > 25, "{routes:?}");
    routes
}
