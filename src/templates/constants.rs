//! Calls in templates whose result is known when the templates are loaded: `page_path(to="/login")`,
//! `asset(name="app.js")` and `t(key="login-title")`. A page has dozens of them, and each call would cost more than the
//! rest of its link or sentence, so the result takes their place before tera parses the template. Lines keep their
//! numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::language::{self, Argument, Catalog};
use crate::paths::page_path;

/// What is known when the templates are loaded.
pub(super) struct Constants<'a> {
    pub(super) assets: &'a BTreeMap<String, String>,
    /// There is one language, so a message without variables is always the same.
    pub(super) catalog: &'a Catalog,
}

/// A template with the results of calls in place of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) text: String,
    /// The lines of messages that do not exist, with their keys.
    pub(super) unknown: Vec<(usize, String)>,
}

/// How the result of a call is written.
enum Value<'a> {
    /// Text, which tera escapes.
    Text(Cow<'a, str>),
    /// Finished HTML.
    Html(String),
}

/// What a call needs to be replaced.
enum Found<'a> {
    /// And what follows the call.
    Value(Value<'a>, &'a str),
    /// The call stays as it is, and its result is known when the template is rendered.
    Later,
    /// The message does not exist.
    Unknown,
}

/// Values of all templates that are texts. A message with one of them is known up to this text.
const TEXTS: [&str; 3] = ["site.name", "viewer.display_name", "viewer.email"];

/// Stands around the name of one of [`TEXTS`] in a message, until the result is written. No message has it.
const PLACEHOLDER: char = '\u{FFFC}';

/// The calls that may be replaced, each up to its argument.
const CALLS: [&str; 4] = ["page_path(to=\"", "asset(name=\"", "t(key=\"", "t_html(key=\""];

impl Constants<'_> {
    /// `text` with the results of calls with a constant argument. A call for a file that does not exist stays, and
    /// fails when it is rendered. `is_html`: the template is HTML and no plain text.
    pub(super) fn resolve(&self, text: &str, is_html: bool) -> Resolved {
        let mut resolved =
            Resolved { text: String::with_capacity(text.len()), unknown: Vec::new() };
        let mut rest = text;
        while let Some((at, call)) = next_call(rest) {
            let (before, from) = rest.split_at(at);
            resolved.text.push_str(before);
            let place = text.len() - from.len();
            let after_call = &from[call.len()..];
            rest = after_call;
            let argument = after_call.split_once('"').filter(|_| is_in_tag(&text[..place]));
            let found =
                argument.map_or(Found::Later, |(argument, after)| self.find(call, argument, after));
            if let (Found::Unknown, Some((key, _))) = (&found, argument) {
                let line = text[..place].matches('\n').count() + 1;
                resolved.unknown.push((line, key.to_owned()));
            }
            let Found::Value(value, after) = found else {
                resolved.text.push_str(call);
                continue;
            };
            rest = replace(&mut resolved.text, after, value, is_html).unwrap_or_else(|| {
                resolved.text.push_str(call);
                after_call
            });
        }
        resolved.text.push_str(rest);
        resolved
    }

    /// `argument` is the first one of the call, `after` what follows its quotation mark.
    fn find<'a>(&'a self, call: &str, argument: &str, after: &'a str) -> Found<'a> {
        // Otherwise the argument is an expression, as in `t(key="event-" ~ kind)`.
        let is_whole = after.starts_with([',', ')']);
        let is_message = call.starts_with('t');
        if is_message && is_whole && !self.catalog.contains(argument) {
            return Found::Unknown;
        }
        let Some((others, after)) = constant_arguments(after) else { return Found::Later };
        let is_text = |other: &Argument<'_>| matches!(other, Argument::Text(text) if text.contains(PLACEHOLDER));
        if others.values().any(is_text) && !self.catalog.inserts_variables_only(argument) {
            return Found::Later;
        }
        let value = match call {
            "t(key=\"" => self.catalog.text(argument, others).ok().map(Value::Text),
            "t_html(key=\"" => self.catalog.html(argument, &others).ok().map(Value::Html),
            _ if !others.is_empty() => None,
            "page_path(to=\"" => Some(Value::Text(page_path(argument).into())),
            _ => self.assets.get(argument).map(|url| Value::Text(url.into())),
        };
        value.map_or(Found::Later, |value| Found::Value(value, after))
    }
}

/// The other arguments of a call, and what follows it. `None`: one of them is known when the template is rendered.
fn constant_arguments(mut rest: &str) -> Option<(BTreeMap<&str, Argument<'_>>, &str)> {
    let mut arguments = BTreeMap::new();
    loop {
        if let Some(after) = rest.strip_prefix(')') {
            return Some((arguments, after));
        }
        let (name, value) = rest.strip_prefix(", ")?.split_once('=')?;
        let (argument, after) = constant(value)?;
        arguments.insert(name, argument);
        rest = after;
    }
}

/// The constant at the beginning of `text`, and what follows it: a path, HTML, or a text.
fn constant(text: &str) -> Option<(Argument<'_>, &str)> {
    if let Some(path) = text.strip_prefix("page_path(to=\"") {
        let (path, after) = path.split_once("\")")?;
        return Some((Argument::Text(page_path(path).into()), after));
    }
    let with_end =
        |name: &&str| text.strip_prefix(name).filter(|after| after.starts_with([',', ')']));
    if let Some((name, after)) = TEXTS.iter().find_map(|name| Some((name, with_end(name)?))) {
        let placeholder = format!("{PLACEHOLDER}{name}{PLACEHOLDER}");
        return Some((Argument::Text(placeholder.into()), after));
    }
    if let Some(html) = text.strip_prefix('`') {
        let (html, after) = html.split_once("` | safe")?;
        return Some((Argument::Html(html), after));
    }
    let (text, after) = text.strip_prefix('"')?.split_once('"')?;
    (!text.contains('\\')).then(|| (Argument::Text(text.into()), after))
}

/// Appends the value to `template`: as text in place of the tag, if the tag is nothing but the call, or else as a
/// string. Returns what follows; `None` if the value can only be inserted when the template is rendered.
fn replace<'a>(
    template: &mut String,
    after: &'a str,
    value: Value<'_>,
    is_html: bool,
) -> Option<&'a str> {
    let tag = template.trim_end_matches(' ').strip_suffix("{{").map(str::len);
    let end = after.trim_start_matches(' ').strip_prefix("}}");
    let written = match &value {
        Value::Text(text) if is_html => language::escape(text),
        Value::Text(text) => Cow::Borrowed(text.as_ref()),
        Value::Html(html) => Cow::Borrowed(html.as_str()),
    };
    if let (Some(tag), Some(end)) = (tag, end)
        && !written.contains(['{', '\n'])
    {
        template.truncate(tag);
        for (n, part) in written.split(PLACEHOLDER).enumerate() {
            match n % 2 {
                0 => template.push_str(part),
                _ => template.push_str(&format!("{{{{ {part} }}}}")),
            }
        }
        return Some(end);
    }
    let Value::Text(text) = value else { return None };
    if text.contains(PLACEHOLDER) {
        return None;
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    template.push_str(&format!("\"{escaped}\""));
    Some(after)
}

/// The next call, and where it is.
fn next_call(text: &str) -> Option<(usize, &'static str)> {
    let is_name_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let first = |call: &'static str| {
        let begins = |at: &usize| {
            let before = at.checked_sub(1).and_then(|at| text.as_bytes().get(at));
            !before.is_some_and(is_name_part)
        };
        text.match_indices(call).map(|(at, _)| at).find(begins).map(|at| (at, call))
    };
    CALLS.into_iter().filter_map(first).min()
}

/// Whether what follows `before` is inside `{{ … }}` or `{% … %}`, and not in a comment or in raw text.
fn is_in_tag(before: &str) -> bool {
    let last = |one: &str, other: &str| before.rfind(one).max(before.rfind(other));
    let is_comment = before.rfind("{#") > before.rfind("#}");
    let is_raw = last(" raw %}", " raw -%}") > last("{% endraw", "{%- endraw");
    last("{{", "{%") > last("}}", "%}") && !is_comment && !is_raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_with_a_constant_argument_are_resolved_and_all_others_stay() {
        let assets = [("app.js".to_owned(), "/static/s-1/app.js".to_owned())].into();
        let messages = "sign-in = Sign in\nit-is = It's \"you\" & me\nbrace = A {\"{\"}{\"{\"} b\nlines =\n  One\n  two\n\
                        many = { $n ->\n  [one] A note\n *[other] { $n } notes\n }\n\
                        at = { $site } & you\nboth = { many } { $n }\nas = <prefix>As </prefix>{ $who }\nrich = <strong>Now</strong> & here\nto = <link>Go</link>\n";
        let site = [("en/site.ftl".to_owned(), messages.as_bytes().into())].into();
        let catalog = Catalog::load(&crate::folder::Layers { site, ..Default::default() });
        let constants = Constants { assets: &assets, catalog: &catalog };
        for (text, expected) in [
            (r#"<a href="{{ page_path(to="/login") }}">"#, r#"<a href="/login">"#),
            (
                r#"{% if path == page_path(to="/a") %}{{ asset(name="app.js") }}"#,
                r#"{% if path == "/a" %}/static/s-1/app.js"#,
            ),
            (r#"{{ page_path(to=href) }}"#, r#"{{ page_path(to=href) }}"#),
            (r#"{{ asset(name="none.js") }}"#, r#"{{ asset(name="none.js") }}"#),
            (r#"{{ my_asset(name="app.js") }}"#, r#"{{ my_asset(name="app.js") }}"#),
            (r#"{{ a }} page_path(to="/a")"#, r#"{{ a }} page_path(to="/a")"#),
            (r#"{{ page_path(to="/a" ~ x ~ "b") }}"#, r#"{{ page_path(to="/a" ~ x ~ "b") }}"#),
            (r#"<p>{{ t(key="sign-in") }}</p>"#, "<p>Sign in</p>"),
            (r#"{{t(key="it-is")}}"#, "It&#39;s &quot;you&quot; &amp; me"),
            (
                r#"{{ <a.b label={t(key="it-is")} /> }}"#,
                r#"{{ <a.b label={"It's \"you\" & me"} /> }}"#,
            ),
            (r#"{{- t(key="sign-in") -}}"#, r#"{{- "Sign in" -}}"#),
            (r#"{{ t(key="brace") }}"#, r#"{{ "A {{ b" }}"#),
            (r#"{{ t(key="lines") }}"#, r#"{{ "One\ntwo" }}"#),
            (r#"{{ t(key="many", n=3) }}"#, r#"{{ t(key="many", n=3) }}"#),
            (r#"{{ t(key="kind-" ~ kind) }}"#, r#"{{ t(key="kind-" ~ kind) }}"#),
            (r#"{# {{ t(key="old") }} #}"#, r#"{# {{ t(key="old") }} #}"#),
            (
                r#"{% raw %}{{ t(key="old") }}{% endraw %}{{ t(key="sign-in") }}"#,
                r#"{% raw %}{{ t(key="old") }}{% endraw %}Sign in"#,
            ),
            (r#"{{ t_html(key="rich") }}"#, "<strong>Now</strong> &amp; here"),
            (r#"{% set a = t_html(key="rich") %}"#, r#"{% set a = t_html(key="rich") %}"#),
            (r#"{{ t_html(key="to", link="/a&b") }}"#, r#"<a href="/a&amp;b">Go</a>"#),
            (r#"{{ t_html(key="to", link=page_path(to="/a")) }}"#, r#"<a href="/a">Go</a>"#),
            (
                r#"{{ t_html(key="to", link=`<b class="x">…</b>` | safe) }}"#,
                r#"<b class="x">Go</b>"#,
            ),
            (
                r#"{{ t_html(key="to", link=page_path(to=x)) }}"#,
                r#"{{ t_html(key="to", link=page_path(to=x)) }}"#,
            ),
            (r#"{{ t_html(key="to") }}"#, r#"{{ t_html(key="to") }}"#),
            (r#"{{ t(key="at", site=site.name) }}"#, "{{ site.name }} &amp; you"),
            (r#"{{ t_html(key="at", site=site.name) }}"#, "<bdi>{{ site.name }}</bdi> &amp; you"),
            (
                r#"{{ t_html(key="as", who=viewer.email, prefix=`<i>…</i>` | safe) }}"#,
                "<i>As </i><bdi>{{ viewer.email }}</bdi>",
            ),
            (r#"{{ t(key="at", site=site.names) }}"#, r#"{{ t(key="at", site=site.names) }}"#),
            (
                r#"{% set a = t(key="at", site=site.name) %}"#,
                r#"{% set a = t(key="at", site=site.name) %}"#,
            ),
            (r#"{{ t(key="many", n=site.name) }}"#, r#"{{ t(key="many", n=site.name) }}"#),
            (r#"{{ t(key="both", n=site.name) }}"#, r#"{{ t(key="both", n=site.name) }}"#),
        ] {
            let resolved = constants.resolve(text, true);
            assert_eq!((resolved.text.as_str(), resolved.unknown), (expected, Vec::new()));
        }
        assert_eq!(constants.resolve(r#"{{ t(key="it-is") }}"#, false).text, "It's \"you\" & me");
        let unknown =
            constants.resolve("\n{{ t(key=\"nothing\", n=1) }} {{ t_html(key=\"no\") }}", true);
        assert_eq!(unknown.unknown, [(2, "nothing".to_owned()), (2, "no".to_owned())]);
    }
}
