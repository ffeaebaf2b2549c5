//! Whether the router of actix-web can use the pattern of a path. The router panics at a pattern that it cannot use,
//! in every worker; here it is found before the server starts.

use std::panic::{catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, PoisonError};

use actix_web::dev::ResourceDef;

/// The router has no place for more.
const MAX_VARIABLES: usize = 16;

/// Why the router cannot use `pattern`.
pub(super) fn mistake(pattern: &str) -> Option<String> {
    let mut names = Vec::new();
    let mut rest = pattern;
    while let Some(start) = rest.find('{') {
        let Some(length) = length_of_variable(&rest[start..]) else {
            return Some("A “{” has no “}”.".to_owned());
        };
        let variable = &rest[start + 1..start + length - 1];
        rest = &rest[start + length..];
        let name = match variable.split_once(':') {
            Some((name, _)) => name,
            None => {
                // `{name}*` at the end is the rest of the path.
                rest = if rest == "*" { "" } else { rest };
                variable
            }
        };
        if !is_name(name) {
            return Some(format!(
                "A variable cannot be named “{name}”. Use letters, digits and “_”, and a letter first."
            ));
        }
        if names.contains(&name) {
            return Some(format!("The variable “{name}” is in it twice."));
        }
        names.push(name);
    }
    if names.len() > MAX_VARIABLES {
        return Some(format!("It has {} variables; use at most {MAX_VARIABLES}.", names.len()));
    }
    if rest.ends_with('*') {
        return Some("“*” has no name. Write “{path:.*}” for the rest of a path.".to_owned());
    }
    // A pattern without variables is compared as text.
    if names.is_empty() { None } else { refusal_of_router(pattern) }
}

/// The length of the variable at the start of `text`, with its braces. Its regular expression may have braces too.
fn length_of_variable(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Whether `name` can be the name of a group in a regular expression.
fn is_name(name: &str) -> bool {
    let is_later = |letter: char| letter.is_alphanumeric() || "_.[]".contains(letter);
    name.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && name.chars().all(is_later)
}

/// What the router says when it panics. The features of actix-web choose its engine for regular expressions, and the
/// crate of a site may turn them on. So only the router knows which expressions it accepts.
fn refusal_of_router(pattern: &str) -> Option<String> {
    /// The hook is one for the process; tests of a site run in several threads.
    static HOOK: Mutex<()> = Mutex::new(());
    let _held = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(|| ResourceDef::new(pattern));
    set_hook(hook);
    let panic = outcome.err()?;
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    // The lines above the last one show the place in the expression.
    let reason = text.lines().last().unwrap_or_default();
    let reason = reason.strip_prefix(&format!("Wrong path pattern: \"{pattern}\" "));
    let reason = reason.unwrap_or_else(|| text.lines().last().unwrap_or_default());
    Some(format!("A regular expression in it is wrong ({reason})."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_at_which_the_router_panics_are_mistakes() {
        let many: String = (0..17).map(|index| format!("/{{v{index}}}")).collect();
        for (pattern, part) in [
            ("/notes/{note-id}", "named “note-id”"),
            ("/notes/{}", "named “”"),
            ("/notes/{1st}", "named “1st”"),
            ("/n/{id", "no “}”"),
            ("/n/{id:[0-9]{3}", "no “}”"),
            ("/n/{id:[}", "regular expression"),
            ("/n/{id:(}/x", "regular expression"),
            ("/n/{id}/{id}", "“id” is in it twice"),
            (many.as_str(), "17 variables"),
            ("/files/*", "“*” has no name"),
            ("/files/{name}/*", "“*” has no name"),
            ("/files/{name:.*}*", "“*” has no name"),
        ] {
            let found = mistake(pattern);
            assert!(found.as_ref().is_some_and(|why| why.contains(part)), "{pattern}: {found:?}");
        }
    }

    #[test]
    fn patterns_that_the_router_accepts_are_none() {
        let many: String = (0..16).map(|index| format!("/{{v{index}}}")).collect();
        for pattern in [
            "/",
            "/notes",
            "/a*b",
            "/notes/{id}",
            "/{_a}-{b2}.html",
            "/n/{id:[0-9]{3}}",
            "/files/{path:.*}",
            "/files/{path}*",
            many.as_str(),
        ] {
            assert_eq!(mistake(pattern), None, "{pattern}");
            ResourceDef::new(pattern);
        }
    }
}
