//! Calls in templates whose result is known when the templates are loaded: `page_path(to="/login")` and
//! `asset(name="app.js")`. A page has some twenty of them, and each call would cost more than the rest of its link, so
//! the result takes their place before tera parses the template. Lines keep their numbers.

use std::collections::BTreeMap;

use crate::paths::page_path;

/// `text` with the results of calls with a constant argument, as string literals. A call for a file that does not exist
/// stays, and fails when it is rendered.
pub(super) fn resolve(text: &str, assets: &BTreeMap<String, String>) -> String {
    let text = replace(text, "page_path(to=\"", |to| Some(page_path(to)));
    replace(&text, "asset(name=\"", |name| assets.get(name).cloned())
}

fn replace(text: &str, call: &str, result: impl Fn(&str) -> Option<String>) -> String {
    let (mut replaced, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(call) {
        let (before, from) = rest.split_at(at);
        replaced.push_str(before);
        let is_name_part =
            before.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_');
        let constant =
            from[call.len()..].split_once("\")").filter(|(argument, _)| !argument.contains('"'));
        let known = constant.and_then(|(argument, after)| Some((result(argument)?, after)));
        match known {
            Some((value, after))
                if !is_name_part && is_in_tag(&text[..text.len() - from.len()]) =>
            {
                replaced.push_str(&format!("\"{value}\""));
                rest = after;
            }
            _ => {
                replaced.push_str(call);
                rest = &from[call.len()..];
            }
        }
    }
    replaced + rest
}

/// Whether what follows `before` is inside `{{ … }}` or `{% … %}`.
fn is_in_tag(before: &str) -> bool {
    let last = |one: &str, other: &str| before.rfind(one).max(before.rfind(other));
    last("{{", "{%") > last("}}", "%}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_with_a_constant_argument_are_resolved_and_all_others_stay() {
        let assets = [("app.js".to_owned(), "/static/s-1/app.js".to_owned())].into();
        for (text, expected) in [
            (r#"<a href="{{ page_path(to="/login") }}">"#, r#"<a href="{{ "/login" }}">"#),
            (
                r#"{% if path == page_path(to="/a") %}{{ asset(name="app.js") }}"#,
                r#"{% if path == "/a" %}{{ "/static/s-1/app.js" }}"#,
            ),
            (r#"{{ page_path(to=href) }}"#, r#"{{ page_path(to=href) }}"#),
            (r#"{{ asset(name="none.js") }}"#, r#"{{ asset(name="none.js") }}"#),
            (r#"{{ my_asset(name="app.js") }}"#, r#"{{ my_asset(name="app.js") }}"#),
            (r#"{{ a }} page_path(to="/a")"#, r#"{{ a }} page_path(to="/a")"#),
            (r#"{{ page_path(to="/a" ~ x ~ "b") }}"#, r#"{{ page_path(to="/a" ~ x ~ "b") }}"#),
        ] {
            assert_eq!(resolve(text, &assets), expected);
        }
    }
}
